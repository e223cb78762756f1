// A client of the log that knows only golang.org/x/mod/sumdb: it is given a folder with what the portal serves.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func check(err error) {
	if err != nil {
		fmt.Println("REFUSED", err)
		os.Exit(1)
	}
}

// C2SP tlog-tiles: tlog's own paths have the height in them, and full tiles of entries are called data there.
func path(t tlog.Tile) string {
	n := fmt.Sprintf("%03d", t.N%1000)
	for rest := t.N / 1000; rest > 0; rest /= 1000 {
		n = fmt.Sprintf("x%03d/%s", rest%1000, n)
	}
	level := strconv.Itoa(t.L)
	if t.L == -1 {
		level = "entries"
	}
	if t.W != 256 {
		n += fmt.Sprintf(".p/%d", t.W)
	}
	return "tile/" + level + "/" + n
}

type reader struct{ folder string }

func (r reader) Height() int { return 8 }
func (r reader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		data, err := os.ReadFile(filepath.Join(r.folder, path(tile)))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}
func (r reader) SaveTiles([]tlog.Tile, [][]byte) {}

func open(file string, verifier note.Verifier) tlog.Tree {
	text, err := os.ReadFile(file)
	check(err)
	signed, err := note.Open(text, note.VerifierList(verifier))
	check(err)
	lines := strings.Split(signed.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		check(fmt.Errorf("not a checkpoint of %s", verifier.Name()))
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	check(err)
	root, err := base64.StdEncoding.DecodeString(lines[2])
	check(err)
	tree := tlog.Tree{N: size}
	copy(tree.Hash[:], root)
	fmt.Printf("checkpoint ok: %d entries, signatures verified %d, unknown %d\n", size, len(signed.Sigs), len(signed.UnverifiedSigs))
	return tree
}

// client KEY FOLDER OLD-CHECKPOINT INDEX…
func main() {
	verifier, err := note.NewVerifier(os.Args[1])
	check(err)
	folder := os.Args[2]
	tree := open(filepath.Join(folder, "checkpoint"), verifier)
	hashes := tlog.TileHashReader(tree, reader{folder})
	old := open(os.Args[3], verifier)
	proof, err := tlog.ProveTree(tree.N, old.N, hashes)
	check(err)
	check(tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash))
	fmt.Println("consistency ok")
	for _, text := range os.Args[4:] {
		index, err := strconv.ParseInt(text, 10, 64)
		check(err)
		width := tree.N - index/256*256
		if width > 256 {
			width = 256
		}
		bundle, err := os.ReadFile(filepath.Join(folder, path(tlog.Tile{H: 8, L: -1, N: index / 256, W: int(width)})))
		check(err)
		var entry []byte
		for nth := int64(0); nth <= index%256; nth++ {
			length := int(binary.BigEndian.Uint16(bundle))
			entry, bundle = bundle[2:2+length], bundle[2+length:]
		}
		proof, err := tlog.ProveRecord(tree.N, index, hashes)
		check(err)
		check(tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry)))
		fmt.Printf("inclusion ok: %d\n", index)
	}
}
