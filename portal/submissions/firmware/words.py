"""What the names in the verifier's report are called on a page."""

from typing import Final

FORMATS: Final = {
    "cms": "CMS signed data",
    "cose": "COSE message",
    "dfu": "USB DFU file",
    "dsse": "DSSE envelope",
    "elf": "ELF file",
    "empty": "empty file",
    "esp32": "ESP32 image",
    "fit": "U-Boot FIT image",
    "intel-hex": "Intel HEX file",
    "jws": "JSON Web Signature",
    "mcuboot": "MCUboot image",
    "mender": "Mender artifact",
    "opaque": "not known (opaque)",
    "rauc": "RAUC bundle",
    "sigstore": "Sigstore bundle",
    "srec": "Motorola S-record file",
    "swupdate": "SWUpdate package",
    "uf2": "UF2 file",
}
FORMS: Final = {
    "cms": "CMS",
    "cose": "COSE",
    "in-toto": "in-toto statement",
    "jws": "JSON Web Signature",
    "minisign": "minisign",
    "openpgp": "OpenPGP",
    "raw": "bare",
    "signify": "signify",
    "sigstore": "Sigstore bundle",
    "ssh": "SSH",
}
# Objects whose names are the supplier's own and are shown as they stand.
VERBATIM: Final = frozenset({"depends", "external_parameters", "payload", "provides"})

# Where a name does not speak for itself; others are shown as their words. "memory.size" is a size in memory.
_TERMS: Final = {
    "alternate_setting": "Alternate setting (target number)",
    "arch": "Architecture",
    "at_least": "At least version",
    "b64": "Payload in base64url (b64)",
    "certificates": "Certificates that came along",
    "claimed_time": "Signing time (claimed)",
    "compatible": "Compatible with",
    "computed_hash": "Computed hash",
    "computed_verity_root": "Computed dm-verity root",
    "confirmed": "Marked as confirmed",
    "content_size": "Size of the content",
    "dependencies": "Needs other images",
    "digest": "Digest algorithm",
    "elf_sha256": "SHA-256 of the ELF file",
    "embedded_list": "Holds a list of checksums",
    "entries": "Entries of sw-description",
    "hash": "Recorded hash",
    "hdr_size": "Header size",
    "img_size": "Image size",
    "key": "Public key",
    "key_digest": "Key digest (eFuse)",
    "key_hash": "Key named by the image",
    "key_name": "Name of the key (a hint)",
    "keyid": "Key ID",
    "load_addr": "Load address",
    "lowest_kernel": "Lowest Linux kernel",
    "members": "Files inside",
    "memory": "Program headers: what is loaded where",
    "memory.address": "Virtual address",
    "memory.bytes": "Bytes in the file",
    "memory.load_addr": "Physical address",
    "memory.size": "Bytes in memory",
    "of": "Signs",
    "one_time_keys.identifier": "Tree (I)",
    "one_time_keys.index": "One-time key (q)",
    "one_time_keys.signed": "Digest that it signed (Q)",
    "padding_bytes": "Padding behind the image",
    "prehashed": "Signed over the BLAKE2b-512 digest",
    "product_id": "USB product ID",
    "pure": "Signed over the image itself",
    "segments": "Segments: the address map",
    "segments.content": "Recognised inside",
    "signatures": "Signatures that the file records",
    "signatures.hash": "Hash algorithm",
    "signatures.text": "Over text",
    "time_stamps": "Time stamps inside",
    "timestamps": "Time stamps inside",
    "tlvs": "TLV entries",
    "typ": "Type",
    "type": "Type",
    "valid_under": "Valid under key",
    "vendor_id": "USB vendor ID",
    "verity_root": "Signed dm-verity root",
    "verity_salt": "dm-verity salt",
}
_WORDS: Final = {
    "alg": "algorithm",
    "api": "API",
    "cms": "CMS",
    "crc32": "CRC-32",
    "dfu": "DFU",
    "elf": "ELF",
    "go": "Go",
    "id": "ID",
    "idf": "ESP-IDF",
    "kid": "key ID",
    "md5": "MD5",
    "os": "OS",
    "sbom": "SBOM",
    "sha1": "SHA-1",
    "sha256": "SHA-256",
    "sha384": "SHA-384",
    "sha512": "SHA-512",
    "spdx": "SPDX",
    "url": "URL",
    "uuid": "UUID",
}
# Object identifiers that stand for a kind of content.
_CONTENT: Final = {
    "1.2.840.113549.1.7.1": "data",
    "1.2.840.113549.1.7.2": "signed data",
    "1.2.840.113549.1.9.16.1.4": "time stamp",
}


def term(name: str, within: str = "") -> str:
    """The words for a name of the report: `build_id` is "Build ID", `hdr_size` "Header size"."""
    if within in VERBATIM:
        return name
    known = _TERMS.get(f"{within}.{name}") or _TERMS.get(name)
    if known:
        return known
    text = " ".join(_WORDS.get(word, word) for word in name.split("_") if word)
    return text[:1].upper() + text[1:]


def content_type(text: str) -> str:
    """An object identifier with its name."""
    return f"{_CONTENT[text]} ({text})" if text in _CONTENT else text
