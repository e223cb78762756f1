// The CSRF token belongs to the session. Somebody whose session ended signs in again in another tab: this page, with
// all that was filled in, takes over the new session's token and goes on.
const meta = document.querySelector('meta[name="csrf-token"]');

export const csrf = () => meta.content;

// Brings the token of the session as it is now into the page and its forms; false when it could not be had.
export async function renew() {
  try {
    const response = await fetch(document.querySelector("a.brand").href);
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    meta.content = page.querySelector('meta[name="csrf-token"]').content;
  } catch {
    return false; // no connection, or not a page of ours
  }
  for (const field of document.querySelectorAll('input[name="csrf_token"]')) field.value = csrf();
  return true;
}
