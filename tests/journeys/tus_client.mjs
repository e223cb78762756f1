// Uploads a file with the stock tus-js-client: node tus_client.mjs <package folder> <endpoint> <token> <file> <stop after>
// Prints one JSON object a line: {"progress": bytes}, then {"evidence": id} or {"error": text}.
// "stop after" > 0: abort after that many bytes, then resume by the upload's address, as after a closed laptop.
import { createReadStream, statSync } from 'node:fs'
import { createRequire } from 'node:module'

const [folder, endpoint, token, path, stopAfter] = process.argv.slice(2)
const tus = createRequire(`${folder}/`)('tus-js-client')
const size = statSync(path).size
const say = (value) => console.log(JSON.stringify(value))

function start(uploadUrl, stop) {
  const upload = new tus.Upload(createReadStream(path), {
    endpoint,
    uploadUrl,
    uploadSize: size,
    chunkSize: 1 << 20,
    retryDelays: [0, 200, 1000, 3000, 5000],
    metadata: { filename: 'bms controller 2.1.0 (ß).bin', filetype: 'application/octet-stream' },
    headers: { Authorization: `Bearer ${token}` },
    onError: (error) => { say({ error: String(error) }); process.exit(1) },
    onChunkComplete: (_chunk, accepted) => {
      say({ progress: accepted })
      if (stop && accepted >= stop) {
        say({ stopped: accepted })
        const url = upload.url
        upload.abort().then(() => { say({ resuming: url }); start(url, 0) })
        stop = 0
      }
    },
    onSuccess: (payload) => say({ evidence: payload.lastResponse.getHeader('Lotgate-Evidence') }),
  })
  upload.start()
}

start(undefined, Number(stopAfter))
