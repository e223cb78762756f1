// Uploads a chosen file at once, in pieces that survive a lost connection, a closed laptop and a restarted server
// (tus 1.0). Without this the file goes with the form. Each `.upload` is drawn by templates/includes/upload.html.
import "./vendor/tus.min.js";
import { csrf, renew } from "./session.js";

const RETRIES = [0, 1000, 3000, 5000, ...Array(12).fill(10000)]; // ms; two minutes, then a person is asked
const SPEED_OVER = 5000; // ms: long enough to be steady, short enough to tell that the line got worse
const GAP = "\u00a0"; // a number and its unit stay on one line
const started = tus.defaultOptions.urlStorage; // of this browser: where the server keeps each unfinished upload

for (const place of document.querySelectorAll("[data-upload]")) equip(place);

addEventListener("beforeunload", (event) => {
  if (document.querySelector(".uploading")) event.preventDefault();
});

function equip(place) {
  const part = (name) => place.querySelector(`[data-upload-${name}]`);
  const [id, input, line, figures, pause, told] = ["id", "file", "line", "figures", "pause", "told"].map(part);
  const bar = line.querySelector("progress");
  let upload = null; // of the file that was chosen last, until it ends
  let running = false;
  let lost = false; // stopped because nobody answered
  let stale = false; // the session may be another one by now
  let samples = []; // [ms, bytes sent] of late

  input.removeAttribute("name"); // its bytes never go with the form
  input.addEventListener("change", () => input.files[0] && begin(input.files[0]));
  pause.addEventListener("click", () => {
    if (!running) return go();
    halt();
    show("uploading", `Paused at ${arrived()}. Go on now, or later by choosing the same file again.`);
  });
  part("cancel").addEventListener("click", () => {
    discard();
    input.value = "";
    end("");
  });
  addEventListener("online", () => upload && lost && go());
  if (input.files[0]) begin(input.files[0]); // chosen before this script had come
  else recall();

  async function begin(file) {
    upload?.abort();
    id.value = "";
    place.querySelector(".field-errors")?.remove(); // about the file before
    bar.max = file.size || 1;
    bar.value = 0;
    bar.setAttribute("aria-label", `Upload of ${file.name}`);
    figures.textContent = "Beginning …";
    let evidence = "";
    const own = new tus.Upload(file, {
      endpoint: place.dataset.upload,
      chunkSize: Number(place.dataset.piece),
      retryDelays: RETRIES,
      removeFingerprintOnSuccess: true,
      metadata: { filename: file.name, filetype: file.type || "application/octet-stream", field: place.id },
      onBeforeRequest: async (request) => {
        if (stale) {
          stale = !(await renew());
          if (!running) throw new Error("halted meanwhile");
        }
        request.setHeader("X-CSRFToken", csrf());
      },
      onAfterResponse: (_request, response) => {
        // Else tus-js-client forgets the upload and begins another one.
        if (response.getStatus() === 401) throw Object.assign(new Error("signed out"), { status: 401 });
        evidence = response.getHeader("Lotgate-Evidence") || evidence;
      },
      onShouldRetry: (error, attempt) => {
        if (upload !== own) return false;
        const status = statusOf(error);
        samples = [];
        stale ||= status === 0 || status === 400;
        if (status === 0 || status >= 500) stick("No answer from the portal. Trying again …");
        if (status === 0) demandReadable(own, file);
        return passing(status) || (status === 400 && attempt === 0);
      },
      onProgress: progress,
      onError: (error) => {
        const status = statusOf(error);
        if (status !== 401 && !passing(status)) return refuse(reason(error));
        halt();
        if (status === 401) return stick(signInAgain());
        stick(`${status ? reason(error) : "No answer from the portal."} Stopped at ${arrived()}; what has arrived is kept.`);
        pause.textContent = "Try again";
        lost = true;
      },
      onSuccess: () => {
        if (!evidence) return refuse("The upload ended without a receipt. Choose the file again.");
        id.value = evidence;
        input.value = ""; // so that a newer file of the same name can be chosen
        end("arrived", `${file.name}, ${size(file.size)}, has arrived. Choose another file to replace it.`);
        const clear = () => { id.value = ""; end(""); };
        place.dispatchEvent(new CustomEvent("upload:done", { bubbles: true, detail: { evidence, clear } }));
      },
    });
    upload = own;
    show("uploading");
    const [earlier] = await own.findPreviousUploads().catch(() => []);
    if (upload !== own) return;
    if (earlier) own.resumeFromPreviousUpload(earlier);
    go();
  }

  function go() {
    running = true;
    lost = false;
    samples = [];
    pause.textContent = "Pause";
    show("uploading");
    upload.start();
  }

  function halt() {
    running = false;
    stale = true;
    upload.abort();
    pause.textContent = "Resume";
    figures.textContent = `${arrived()} of ${size(bar.max)}`;
  }

  // Under way, but no further for now.
  function stick(words) {
    place.classList.add("stuck");
    figures.textContent = `${arrived()} of ${size(bar.max)}`;
    told.replaceChildren(words);
  }

  // The portal need not keep what arrived. Where it cannot be told now, that expires by itself.
  function discard() {
    stale = false;
    upload.abort(true).catch(() => {});
  }

  function refuse(words) {
    upload.abort();
    input.value = ""; // so that the same file can be chosen again
    end("failed", words);
  }

  function end(state, words) {
    running = lost = false;
    upload = null;
    if (line.contains(document.activeElement)) input.focus();
    show(state, words);
  }

  function show(state, words = "") {
    for (const name of ["uploading", "stuck", "arrived", "failed"]) place.classList.toggle(name, name === state);
    line.hidden = state !== "uploading";
    told.replaceChildren(words);
    input.classList.toggle("is-invalid", state === "failed");
    input.setAttribute("aria-invalid", state === "failed");
    wait(place.closest("form"));
  }

  // A file that was written to or moved meanwhile fails like a lost line.
  async function demandReadable(own, file) {
    try {
      await file.slice(0, 1).arrayBuffer();
    } catch {
      if (upload !== own) return;
      discard();
      refuse("The file was changed or moved after it was chosen. Choose it again.");
    }
  }

  function progress(sent, total) {
    const now = performance.now();
    samples.push([now, sent]);
    while (samples.length > 2 && now - samples[0][0] > SPEED_OVER) samples.shift();
    const [since, before] = samples[0];
    const speed = (1000 * (sent - before)) / (now - since); // bytes a second
    bar.value = sent;
    if (place.classList.contains("stuck")) show("uploading");
    if (sent === total) figures.textContent = "Being put in place …";
    else if (now - since < 500 || speed <= 0) figures.textContent = `${arrived()} of ${size(total)}`;
    else figures.textContent = `${arrived()} of ${size(total)}, ${size(speed)}/s, ${time((total - sent) / speed)} left`;
  }

  function arrived() {
    return `${Math.floor((100 * bar.value) / bar.max)}${GAP}%`;
  }

  function signInAgain() {
    const link = Object.assign(document.createElement("a"), {
      href: document.querySelector('meta[name="sign-in"]').content,
      target: "_blank",
      textContent: "Sign in again in another tab",
    });
    const words = document.createElement("span");
    words.append("Your session has ended; what has arrived is kept. ", link, ", then come back here and resume.");
    return words;
  }

  // What an earlier visit left unfinished goes on when its file is chosen again: say so where it began.
  async function recall() {
    for (const earlier of await started.findAllUploads().catch(() => [])) {
      if (earlier.metadata?.field !== place.id) continue;
      const response = await fetch(earlier.uploadUrl).catch(() => null);
      if ([404, 410].includes(response?.status)) started.removeUpload(earlier.urlStorageKey);
      if (!response?.ok) continue;
      const { filename, offset, length } = await response.json();
      if (upload || id.value) return;
      told.replaceChildren(`${filename} arrived in part: ${size(offset)} of ${size(length)}. Choose it again to go on from there.`);
    }
  }
}

// The form waits for its uploads.
function wait(form) {
  const busy = Boolean(form.querySelector(".uploading"));
  for (const button of form.querySelectorAll("[data-upload-wait]")) button.disabled = busy;
}

// 0: no answer.
function statusOf(error) {
  return error.originalResponse?.getStatus() ?? error.causingError?.status ?? 0;
}

// Whether it may go better a little later.
function passing(status) {
  return status === 0 || status >= 500 || [409, 423, 429].includes(status);
}

function reason(error) {
  try {
    const { detail, problems = [] } = JSON.parse(error.originalResponse.getBody());
    return [detail, ...problems.map((problem) => problem.fix)].filter(Boolean).join(" ");
  } catch {
    return `The upload was refused (${statusOf(error)}).`;
  }
}

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const step = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  const amount = bytes / 1024 ** step;
  return `${step && amount < 100 ? amount.toFixed(1) : Math.round(amount)}${GAP}${units[step]}`;
}

function time(seconds) {
  if (seconds < 60) return `${Math.ceil(seconds)}${GAP}s`;
  return seconds < 3600 ? `${Math.ceil(seconds / 60)}${GAP}min` : `${(seconds / 3600).toFixed(1)}${GAP}h`;
}
