// What gradio's page lacks: the photo that stays, the tab in the address, a picture on the clipboard, names for screen
// readers, and a slider that the keyboard moves.
window.maskhub = (() => {
  const HOUR = 3600e3;
  let photo = null; // FileData of the last photo in any tab

  // ---- what the browser keeps ---------------------------------------------------------------------------------------
  // a random identifier; of this page only where the browser stores nothing
  function identifier(storage, name) {
    const bytes = crypto.getRandomValues(new Uint8Array(16)); // crypto.randomUUID exists on https only
    const fresh = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    try {
      const known = window[storage].getItem(name);
      if (!known) window[storage].setItem(name, fresh);
      return known || fresh;
    } catch {
      return fresh; // storage is off
    }
  }
  const key = identifier("localStorage", "maskhub-key"); // of this visitor
  const visit = identifier("sessionStorage", "maskhub-visit"); // of this browser tab: forgotten with it

  // ---- the photo stays when the tab changes, and when the server was restarted --------------------------------------
  const opened = new Promise((resolve) => {
    const request = indexedDB.open("maskhub", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("photos");
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => resolve(null); // a private window
  }).catch(() => null); // storage is off
  const settled = (request) =>
    new Promise((resolve) => {
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => resolve(undefined);
    });
  const store = async (mode) => (await opened)?.transaction("photos", mode).objectStore("photos");

  async function keep(data) {
    photo = data;
    const photos = await store("readwrite");
    if (!photos) return;
    if (!data) return photos.delete(visit);
    const blob = await (await fetch(data.url)).blob();
    const name = data.orig_name ?? data.path.split("/").pop();
    const writing = await store("readwrite");
    // another photo may have been chosen meanwhile, or this one taken away
    if (photo === data) writing.put({ blob, name, time: Date.now() }, visit);
  }

  async function kept() {
    const photos = await store("readonly");
    if (!photos) return null;
    const [keys, values] = await Promise.all([settled(photos.getAllKeys()), settled(photos.getAll())]);
    const old = (keys ?? []).filter((_, n) => Date.now() - values[n].time > HOUR);
    const writing = old.length ? await store("readwrite") : null;
    old.forEach((other) => writing.delete(other));
    return old.includes(visit) ? null : (values?.[keys.indexOf(visit)] ?? null);
  }

  async function restored(shown) {
    const known = await kept().catch(() => null);
    if (!known) return shown;
    const form = new FormData();
    form.append("files", known.blob, known.name);
    const root = window.gradio_config?.root ?? "";
    const answer = await fetch(`${root}/gradio_api/upload`, { method: "POST", body: form });
    if (!answer.ok) return shown;
    const [path] = await answer.json();
    const url = `${root}/gradio_api/file=${path}`;
    // not in place of a photo that was chosen meanwhile
    photo ??= { path, url, orig_name: known.name, mime_type: known.blob.type, meta: { _type: "gradio.FileData" } };
    return photo;
  }

  // ---- another photo in one click: gradio's upload button only takes away the one that is shown -----------------------
  const choose = (place) => document.querySelector(`${place} input[type=file]`)?.click();
  document.addEventListener(
    "click",
    (event) => {
      const box = event.target.closest?.(".photo");
      if (!box || !event.target.closest("button[aria-label='Upload file'], .image-frame")) return;
      event.stopPropagation();
      box.querySelector("input[type=file]")?.click();
    },
    true,
  );

  // ---- the tab in the address ---------------------------------------------------------------------------------------
  const wanted = new URLSearchParams(location.search).get("tab") ?? "";
  let ready = false; // gradio selects the first tab when it starts

  function address(tab) {
    if (!ready) return;
    const url = new URL(location.href);
    url.searchParams.set("tab", tab);
    history.replaceState(history.state, "", url);
  }

  // the tabs of the Lab are only there once it is open
  async function open(lab) {
    ready = true;
    if (!/^[a-z-]+$/.test(wanted)) return;
    const button = (name) => document.querySelector(`#tab-${name}-button`);
    if (lab.includes(wanted)) {
      button("lab").click();
      for (let tries = 0; tries < 300 && !button(wanted); tries++) await new Promise(requestAnimationFrame);
    }
    button(wanted)?.click();
  }

  // ---- a result is scrolled to, unless the visitor has turned to something else meanwhile ---------------------------
  let touched = null; // last pressed: the button that started the run, if the visitor still waits
  for (const kind of ["pointerdown", "keydown"])
    document.addEventListener(kind, (event) => (touched = event.target), true);

  function scroll(result, problem) {
    if (document.querySelector(`#${problem} .problem`) || (touched && !touched.closest?.("button:not(.repaint)"))) return;
    document.querySelector(`#${result}`).scrollIntoView({ behavior: "smooth", block: "nearest" });
  }

  // ---- the result on the clipboard ----------------------------------------------------------------------------------
  async function copy(place) {
    const images = document.querySelectorAll(`${place} img`);
    const image = images[images.length - 1];
    const said = (kind, text) => `<p class="${kind}" role="status">${text}</p>`;
    if (!image) return said("problem", "There is no result to copy yet.");
    const png = async () => {
      const bitmap = await createImageBitmap(await (await fetch(image.src)).blob());
      const canvas = Object.assign(document.createElement("canvas"), { width: bitmap.width, height: bitmap.height });
      canvas.getContext("2d").drawImage(bitmap, 0, 0);
      return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
    };
    try {
      await navigator.clipboard.write([new ClipboardItem({ "image/png": png() })]);
      return said("done", "Copied.");
    } catch {
      return said("problem", "This browser does not let the page copy pictures: download the result instead.");
    }
  }

  // ---- painting on a face -------------------------------------------------------------------------------------------
  const RADIUS = 3.5;
  let stroke = null; // canvas and place of a stroke that goes on

  // the cells of the grid as hexadecimal text, read as a run starts: what the visitor sees is what is used
  function painting() {
    const canvas = document.querySelector(".brush canvas");
    if (!canvas) return "";
    const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    let text = "";
    for (let byte = 0; byte < data.length / 32; byte++) {
      let bits = 0;
      for (let bit = 0; bit < 8; bit++) bits = 2 * bits + (data[4 * (8 * byte + bit) + 3] > 0);
      text += bits.toString(16).padStart(2, "0");
    }
    return text;
  }

  function dab(event) {
    const { canvas, x, y } = stroke;
    const box = canvas.getBoundingClientRect();
    const to = {
      x: ((event.clientX - box.x) * canvas.width) / box.width,
      y: ((event.clientY - box.y) * canvas.height) / box.height,
    };
    const pen = canvas.getContext("2d");
    pen.fillStyle = "#0d9488";
    const steps = Math.max(1, Math.ceil(Math.hypot(to.x - x, to.y - y)));
    for (let step = 1; step <= steps; step++) {
      const [midX, midY] = [x + ((to.x - x) * step) / steps, y + ((to.y - y) * step) / steps];
      for (let row = Math.floor(midY - RADIUS); row <= midY + RADIUS; row++)
        for (let column = Math.floor(midX - RADIUS); column <= midX + RADIUS; column++)
          if (Math.hypot(column + 0.5 - midX, row + 0.5 - midY) <= RADIUS) pen.fillRect(column, row, 1, 1);
    }
    Object.assign(stroke, to);
  }

  document.addEventListener("pointerdown", (event) => {
    if (!event.target.matches?.(".brush canvas")) return;
    const [canvas, box] = [event.target, event.target.getBoundingClientRect()];
    canvas.setPointerCapture(event.pointerId);
    stroke = {
      canvas,
      x: ((event.clientX - box.x) * canvas.width) / box.width,
      y: ((event.clientY - box.y) * canvas.height) / box.height,
    };
    dab(event);
  });
  document.addEventListener("pointermove", (event) => stroke && dab(event));
  for (const end of ["pointerup", "pointercancel"]) document.addEventListener(end, () => (stroke = null));
  document.addEventListener("click", (event) => {
    if (!event.target.matches?.(".repaint")) return;
    const canvas = document.querySelector(".brush canvas");
    canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
  });

  // ---- no answer is lost while the stream of answers closes -----------------------------------------------------------
  // gradio's server closes the stream once nothing is pending. An event that joins before the page knows of it is never
  // answered: the page takes the stream for open. So an event has joined only once the stream names it, or has ended.
  const fetched = window.fetch;
  let stream = null; // from its request until gradio aborts it: ids of the events it named, and id → what waits for it

  window.fetch = async (input, init) => {
    const address = String(input.url ?? input);
    if (address.includes("/queue/data?")) return listened(input, init);
    const answer = await fetched(input, init);
    if (/\/queue\/join\b/.test(address) && answer.ok) await joined((await answer.clone().json()).event_id);
    return answer;
  };

  function joined(id) {
    if (stream && !stream.named.has(id)) return new Promise((resolve) => stream.waiting.set(id, resolve));
  }

  async function listened(input, init) {
    const own = (stream = { named: new Set(), waiting: new Map() });
    const ended = () => {
      if (stream === own) stream = null;
      own.waiting.forEach((resolve) => resolve());
    };
    (init?.signal ?? input.signal)?.addEventListener("abort", ended); // gradio has read that it closes
    const failed = (error) => {
      ended();
      throw error;
    };
    const answer = await fetched(input, init).catch(failed);
    if (!answer.ok) {
      ended();
      return answer;
    }
    const [reader, decoder] = [answer.body.getReader(), new TextDecoder()];
    let text = ""; // with the end of the chunk before, where an id may be cut in two
    const read = async (controller) => {
      const { done, value } = await reader.read();
      if (done) {
        ended();
        return controller.close();
      }
      text = text.slice(-64) + decoder.decode(value, { stream: true });
      for (const [, id] of text.matchAll(/"event_id": ?"(\w+)"/g)) {
        own.named.add(id);
        own.waiting.get(id)?.();
      }
      controller.enqueue(value);
    };
    const pull = (controller) => read(controller).catch(failed);
    const body = new ReadableStream({ pull, cancel: (reason) => (ended(), reader.cancel(reason)) });
    return new Response(body, { status: answer.status, statusText: answer.statusText, headers: answer.headers });
  }

  // ---- names for screen readers, and a slider that arrow keys move --------------------------------------------------
  let due = false;
  const changes = new MutationObserver(() => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => {
      due = false;
      name();
    });
  });
  changes.observe(document, { childList: true, subtree: true });

  const HANDLE = ".compared [data-testid=slider]";
  const place = (handle) => {
    const [picture, bar] = [handle.parentElement.querySelector("img"), handle.querySelector(".inner")];
    const [box, line] = [picture, bar].map((part) => part?.getBoundingClientRect());
    // while the picture loads, it has no size, and gradio gives the handle no place
    if (!box?.width || !line || !handle.style.transform) return { share: 0, at: 0, width: 0, row: 0 };
    const at = line.x + line.width / 2;
    return { share: Math.round((100 * (at - box.x)) / box.width), at, width: box.width, row: line.y + line.height / 2 };
  };

  function name() {
    document.querySelectorAll("div[aria-label='Empty value']:not([role])").forEach((box) => (box.role = "img"));
    for (const image of document.querySelectorAll(".thumbnail-item > img:not([alt=''])")) {
      image.parentElement.ariaLabel = image.alt; // "Thumbnail 1 of 5" says less
      image.alt = "";
    }
    for (const button of document.querySelectorAll("button:has(> .image-frame > img)")) {
      const label = button.closest(".block")?.querySelector("[data-testid='block-label']")?.textContent.trim();
      if (button.ariaLabel !== (label || "Picture")) button.ariaLabel = label || "Picture"; // gradio gives it no name
    }
    for (const handle of document.querySelectorAll(HANDLE)) {
      const images = handle.parentElement.querySelectorAll("img");
      images.forEach((image, number) => (image.alt = ["Before", "After"][number]));
      handle.role = "slider";
      handle.tabIndex = 0;
      handle.ariaLabel = "Share of the photo before";
      handle.ariaValueNow = String(place(handle).share);
      changes.observe(handle, { attributes: true, attributeFilter: ["style"] }); // by which gradio moves it
    }
  }

  document.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -5, ArrowDown: -5, ArrowRight: 5, ArrowUp: 5, Home: -100, End: 100 }[event.key];
    if (!step || !event.target.matches?.(HANDLE)) return;
    event.preventDefault();
    const { at, width, row } = place(event.target);
    if (!width) return; // gradio would divide by the size of the picture, and the handle would never move again
    const mouse = (type, x) =>
      new MouseEvent(type, { bubbles: true, cancelable: true, view: window, clientX: x, clientY: row });
    event.target.dispatchEvent(mouse("mousedown", at));
    window.dispatchEvent(mouse("mousemove", at + (step * width) / 100));
    window.dispatchEvent(mouse("mouseup", at + (step * width) / 100));
  });

  const loaded = (event) => event.target.matches?.(".compared img") && requestAnimationFrame(name);
  document.addEventListener("load", loaded, true); // which does not bubble

  return { key, keep, restored, choose, address, open, copy, painting, scroll, last: (own) => photo ?? own };
})();
