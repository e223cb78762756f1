// Passkeys: what the server asks goes to the authenticator, its answer goes back in the form.

const bytes = (text) =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const known = (list) => (list ?? []).map((item) => ({ ...item, id: bytes(item.id) }));

const form = document.querySelector("form[data-passkey]");
const options = JSON.parse(form.dataset.passkey);
options.challenge = bytes(options.challenge);

const PROBLEMS = {
  NotAllowedError: "Nothing was confirmed: it was cancelled, or took too long.",
  InvalidStateError: "This device holds a passkey for your account already.",
  SecurityError: "Your browser does not allow passkeys at this address.",
};

try {
  form.elements.credential.value = JSON.stringify(options.user ? await create() : await get());
  form.submit();
} catch (error) {
  document.querySelector("[data-passkey-waiting]").hidden = true;
  const problem = document.querySelector("[data-passkey-problem]");
  problem.querySelector("[data-text]").textContent = PROBLEMS[error.name] ?? `Your browser says: ${error.message}`;
  problem.hidden = false;
  problem.focus();
}

async function create() {
  options.user.id = bytes(options.user.id);
  options.excludeCredentials = known(options.excludeCredentials);
  const made = await navigator.credentials.create({ publicKey: options });
  return answer(made, {
    attestationObject: text(made.response.attestationObject),
    transports: made.response.getTransports?.() ?? [],
  });
}

async function get() {
  options.allowCredentials = known(options.allowCredentials);
  const shown = await navigator.credentials.get({ publicKey: options });
  const { authenticatorData, signature, userHandle } = shown.response;
  return answer(shown, {
    authenticatorData: text(authenticatorData),
    signature: text(signature),
    userHandle: userHandle ? text(userHandle) : undefined,
  });
}

function answer(credential, response) {
  return {
    id: credential.id,
    rawId: text(credential.rawId),
    type: credential.type,
    response: { clientDataJSON: text(credential.response.clientDataJSON), ...response },
  };
}
