// Uploads a chosen file at once, in pieces that survive a lost connection, a closed laptop and a restarted server
// (tus 1.0). Without this the file goes with the form. Each `.upload` is drawn by templates/includes/upload.html.
import "./vendor/tus.min.js";

const csrf = document.querySelector('meta[name="csrf-token"]').content;
const RETRIES = [0, 1000, 3000, 5000, 10000, 20000, 30000]; // ms

for (const place of document.querySelectorAll("[data-upload]")) {
  place.querySelector("[data-upload-file]").addEventListener("change", (event) => {
    const file = event.target.files[0];
    if (file) begin(place, file);
  });
}

async function begin(place, file) {
  place.upload?.abort();
  const id = place.querySelector("[data-upload-id]");
  const input = place.querySelector("[data-upload-file]");
  const view = draw(place, file);
  let evidence = "";
  id.value = "";
  const upload = new tus.Upload(file, {
    endpoint: place.dataset.upload,
    chunkSize: Number(place.dataset.piece),
    retryDelays: RETRIES,
    removeFingerprintOnSuccess: true,
    metadata: { filename: file.name, filetype: file.type || "application/octet-stream" },
    headers: { "X-CSRFToken": csrf },
    onAfterResponse: (_request, response) => { evidence = response.getHeader("Lotgate-Evidence") || evidence; },
    onProgress: (sent, total) => view.progress(sent, total),
    onError: (error) => {
      if (error.originalResponse) {
        input.value = "";
        finish(place);
        view.failed(reason(error.originalResponse));
      } else {
        view.stopped();
        addEventListener("online", () => place.upload === upload && view.resume(), { once: true });
      }
    },
    onSuccess: () => {
      id.value = evidence;
      input.value = ""; // its bytes have arrived: they do not go with the form again
      finish(place);
      if (!evidence) return view.failed("The upload ended without a receipt: choose the file again.");
      view.done();
      place.dispatchEvent(new CustomEvent("upload:done", {
        bubbles: true,
        detail: { evidence, clear: () => { id.value = ""; view.clear(); } },
      }));
    },
  });
  place.upload = upload;
  view.steer(upload, () => {
    upload.abort(true).catch(() => {}); // what the server keeps of it expires by itself
    input.value = "";
    finish(place);
    view.clear();
  });
  place.classList.add("uploading");
  wait(place);
  const earlier = await upload.findPreviousUploads().catch(() => []);
  if (place.upload !== upload) return;
  if (earlier.length) upload.resumeFromPreviousUpload(earlier[0]);
  upload.start();
}

function finish(place) {
  place.upload = null;
  place.classList.remove("uploading");
  wait(place);
}

// The form waits for its uploads.
function wait(place) {
  const form = place.closest("form");
  const busy = Boolean(form.querySelector(".uploading"));
  for (const button of form.querySelectorAll("[data-upload-wait]")) button.disabled = busy;
}

addEventListener("beforeunload", (event) => {
  if (document.querySelector(".uploading")) event.preventDefault();
});

function draw(place, file) {
  const state = place.querySelector("[data-upload-state]");
  const bar = Object.assign(document.createElement("progress"), { max: file.size || 1, value: 0 });
  bar.setAttribute("aria-label", `Upload of ${file.name}`);
  const words = document.createElement("span");
  words.className = "num";
  const pause = button("Pause");
  const cancel = button("Cancel");
  place.classList.remove("failed");
  state.replaceChildren(bar, words, pause, cancel);
  words.textContent = "Beginning …";
  let running = true;
  let upload;
  const set = (on) => {
    running = on;
    pause.textContent = on ? "Pause" : "Resume";
  };
  const view = {
    steer: (its, stop) => {
      upload = its;
      pause.addEventListener("click", () => (running ? view.pause() : view.resume()));
      cancel.addEventListener("click", stop);
    },
    pause: () => {
      upload.abort();
      set(false);
      words.textContent = `Paused at ${share(bar.value, bar.max)}`;
    },
    resume: () => {
      set(true);
      upload.start();
    },
    progress: (sent, total) => {
      bar.value = sent;
      words.textContent = sent < total ? `${share(sent, total)} of ${size(total)}` : "Being put in place …";
    },
    stopped: () => {
      set(false);
      words.textContent = `No connection: stopped at ${share(bar.value, bar.max)}. What has arrived is kept.`;
    },
    done: () => state.replaceChildren(`${file.name}, ${size(file.size)}, has arrived.`),
    failed: (text) => {
      place.classList.add("failed");
      state.replaceChildren(text);
    },
    clear: () => state.replaceChildren(),
  };
  return view;
}

function button(text) {
  return Object.assign(document.createElement("button"), {
    type: "button",
    className: "btn btn-outline-secondary btn-sm",
    textContent: text,
  });
}

function reason(response) {
  try {
    return JSON.parse(response.getBody()).detail;
  } catch {
    return `The upload was refused (${response.getStatus()}).`;
  }
}

const share = (part, whole) => `${Math.floor((100 * part) / (whole || 1))} %`;

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const step = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  const amount = bytes / 1024 ** step;
  return `${step && amount < 100 ? amount.toFixed(1) : Math.round(amount)} ${units[step]}`;
}
