/** Registers the service worker that caches the site's files; it must be active before they load, or they would load twice. */

const PATIENCE = 4000;
const LOADED_AGAIN = "maskhub-loaded-again";

/** Returns whether the page is reloading, because the service worker now adds the headers that threads need. */
export async function prepareOffline(): Promise<boolean> {
  if (!("serviceWorker" in navigator)) return false;
  try {
    await navigator.serviceWorker.register("sw.js");
  } catch {
    return false; // private windows of some browsers; everything else works
  }
  if (!navigator.serviceWorker.controller) {
    await Promise.race([
      new Promise((resolve) => navigator.serviceWorker.addEventListener("controllerchange", resolve, { once: true })),
      new Promise((resolve) => setTimeout(resolve, PATIENCE)),
    ]);
  }
  const once = !sessionStorage.getItem(LOADED_AGAIN);
  if (!crossOriginIsolated && navigator.serviceWorker.controller && once && window === window.top) {
    sessionStorage.setItem(LOADED_AGAIN, "yes");
    location.reload();
    return true;
  }
  return false;
}
