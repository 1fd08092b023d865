"use strict";
// The viewer of a comparison page. All panes show one viewport: `state.zoom` over the size at which the picture fits, and
// the point of the picture, in fractions of its width and height, that lies in the middle of a pane.
(() => {
  const get = (id) => document.getElementById(id);
  const facts = JSON.parse(get("facts").textContent);
  const stage = get("stage");
  const state = {
    picture: 0, view: "slider", pair: [0, 1], split: 0.5, second: false, gain: 8, zoom: 1, x: 0.5, y: 0.5,
  };
  const VIEWS = ["slider", "side", "flicker", "difference"];
  const PIXELS = 3; // from this size of a pixel on, in px, pictures are shown pixel by pixel, else smoothly
  const FRAMES = ["#e63946", "#1da1f2", "#ffb703", "#2ec469"]; // the colours of the printed sheet

  const pointers = new Map(); // those that are down: pointerId -> [left, top] in px

  const picture = () => facts.pictures[state.picture];
  const between = (low, value, high) => Math.min(Math.max(value, low), high);

  function element(name, { text, ...properties } = {}, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    if (text !== undefined) made.textContent = text; // names are text, never markup
    made.append(...children);
    return made;
  }

  // Pixels stand in the page as data: URIs and are decoded when they are shown.
  function image(index) {
    const { width, height, panes } = picture();
    const src = get(`pixels-${state.picture}-${index}`).textContent;
    return element("img", { className: "picture", alt: panes[index].label, width, height, draggable: false, src });
  }

  // ---- the viewport ----

  function fit() {
    const pane = stage.querySelector(".pane");
    const scale = Math.min(pane.clientWidth / picture().width, pane.clientHeight / picture().height);
    return scale >= PIXELS ? Math.floor(scale) : scale; // by whole factors, where pixels can be told apart
  }

  const scale = () => fit() * state.zoom;

  function place() {
    arrange();
    const pane = stage.querySelector(".pane");
    if (!pane || !pane.clientWidth) return;
    state.zoom = between(1, state.zoom, Math.max(8, 32 / fit()));
    const size = scale();
    const offsets = [["x", pane.clientWidth, picture().width], ["y", pane.clientHeight, picture().height]].map(
      ([axis, room, length]) => {
        const half = room / 2 / (length * size);
        state[axis] = half >= 0.5 ? 0.5 : between(half, state[axis], 1 - half);
        // whole pixels of the screen: in between, the browser would smooth what is shown pixel by pixel
        return Math.round((room / 2 - state[axis] * length * size) * devicePixelRatio) / devicePixelRatio;
      },
    );
    for (const shown of stage.querySelectorAll(".picture")) {
      shown.style.transform = `translate(${offsets[0]}px, ${offsets[1]}px) scale(${size})`;
      shown.classList.toggle("pixels", size >= PIXELS);
    }
    stage.classList.toggle("zoomed", state.zoom > 1);
    get("zoom").textContent = `${Math.round(size * 100)} %`;
  }

  // As few rows as the width allows, all about equally full.
  function arrange() {
    const count = picture().panes.length;
    const widest = Math.max(1, Math.floor(stage.clientWidth / (stage.clientWidth < 760 ? 150 : 380)));
    stage.style.setProperty("--columns", Math.ceil(count / Math.ceil(count / widest)));
  }

  // Zoom so that what lies under a point of the pane stays there; (left, top) in px from the pane's middle.
  function zoomBy(factor, left = 0, top = 0) {
    const before = scale();
    state.zoom = between(1, state.zoom * factor, Math.max(8, 32 / fit()));
    const change = 1 / before - 1 / scale();
    state.x += (left * change) / picture().width;
    state.y += (top * change) / picture().height;
    place();
  }

  function panBy(left, top) {
    state.x -= left / (picture().width * scale());
    state.y -= top / (picture().height * scale());
    place();
  }

  function lookAt({ x, y, width, height }) {
    const pane = stage.querySelector(".pane");
    const fills = Math.min(pane.clientWidth / (width * picture().width), pane.clientHeight / (height * picture().height));
    Object.assign(state, { zoom: Math.min(0.8 * fills, 12) / fit(), x: x + width / 2, y: y + height / 2 });
    place();
  }

  // ---- what is shown ----

  function pane(...children) {
    const made = element("div", { className: "pane" }, ...children);
    made.style.aspectRatio = `${picture().width} / ${picture().height}`;
    return made;
  }

  function caption(index) {
    const { label, scores } = picture().panes[index];
    const made = element("div", { className: "caption" }, element("strong", { text: label }));
    for (const { text, gain, tone, best } of scores) {
      const line = element("span", { text: text + (best ? " ★" : ""), className: best ? "best" : "" });
      if (gain) line.append(" ", element("b", { text: gain, className: tone }));
      made.append(line);
    }
    return made;
  }

  const tag = (index, side) => element("div", { className: `tag ${side}`, text: picture().panes[index].label });

  const show = {
    slider() {
      const [left, right] = state.pair;
      const handle = element("div", { className: "handle", tabIndex: 0, role: "slider" });
      const names = state.pair.map((index) => picture().panes[index].label);
      handle.setAttribute("aria-label", `Divider between ${names[0]} and ${names[1]}`);
      handle.setAttribute("aria-valuemin", 0);
      handle.setAttribute("aria-valuemax", 100);
      const layers = [left, right].map((index) => element("div", { className: "layer" }, image(index)));
      stage.append(pane(...layers, tag(left, "left"), tag(right, "right"), handle));
      moveSplit(state.split);
    },
    side() {
      picture().panes.forEach((_, index) => stage.append(element("figure", {}, pane(image(index)), caption(index))));
    },
    flicker() {
      stage.append(pane(...state.pair.map(image), tag(state.pair[0], "left"), tag(state.pair[1], "left")));
      showOne(state.second);
    },
    difference() {
      const canvas = element("canvas", { className: "picture", width: picture().width, height: picture().height });
      stage.append(pane(canvas));
      drawDifference(canvas);
    },
  };

  function moveSplit(share) {
    state.split = between(0, share, 1);
    const percent = Math.round(state.split * 100);
    stage.querySelectorAll(".layer")[1].style.clipPath = `inset(0 0 0 ${state.split * 100}%)`;
    const handle = stage.querySelector(".handle");
    handle.style.left = `${state.split * 100}%`;
    handle.setAttribute("aria-valuenow", percent);
    handle.setAttribute("aria-valuetext", `${percent} % ${picture().panes[state.pair[0]].label}`);
  }

  function showOne(second) {
    state.second = second;
    const [pictures, tags] = [".picture", ".tag"].map((name) => stage.querySelectorAll(name));
    for (const position of [0, 1]) {
      pictures[position].classList.toggle("away", position !== Number(second));
      tags[position].hidden = position !== Number(second);
    }
  }

  async function drawDifference(canvas) {
    const { width, height, panes } = picture();
    const images = state.pair.map(image);
    await Promise.all(images.map((shown) => shown.decode()));
    if (!canvas.isConnected) return; // something else is shown by now
    const context = canvas.getContext("2d", { willReadFrequently: true });
    const [first, second] = images.map((shown) => {
      context.drawImage(shown, 0, 0);
      return context.getImageData(0, 0, width, height).data;
    });
    const drawn = context.createImageData(width, height);
    let greatest = 0;
    let total = 0;
    for (let place = 0; place < first.length; place += 1) {
      if (place % 4 === 3) {
        drawn.data[place] = 255; // opaque
        continue;
      }
      const difference = Math.abs(first[place] - second[place]);
      total += difference;
      greatest = Math.max(greatest, difference);
      drawn.data[place] = difference * state.gain; // clamped by the array
    }
    context.putImageData(drawn, 0, 0);
    const [left, right] = state.pair.map((index) => panes[index].label);
    const found = greatest
      ? `mean ${(total / (3 * width * height)).toFixed(2)}, greatest ${greatest}, of 255`
      : "no pixel differs";
    const said = `|${left} − ${right}|, amplified ${state.gain} times: ${found}`;
    get("captions").prepend(element("div", { className: "caption wide", id: "difference", text: said }));
  }

  function render() {
    pointers.clear(); // of panes that are gone
    stage.replaceChildren();
    stage.className = state.view;
    get("captions").replaceChildren();
    show[state.view]();
    if (state.view !== "side") get("captions").append(...state.pair.map(caption));
    for (const button of get("views").children) {
      button.setAttribute("aria-pressed", button.dataset.view === state.view);
    }
    get("pair").hidden = state.view === "side";
    get("amplified").hidden = state.view !== "difference";
    [get("left").value, get("right").value] = state.pair;
    place();
  }

  function open(index) {
    const labels = state.pair.map((position) => picture().panes[position].label);
    state.picture = between(0, index, facts.pictures.length - 1);
    const { panes, regions, notes } = picture();
    state.pair = labels.map((label, side) => {
      const same = panes.findIndex((item) => item.label === label);
      return same >= 0 ? same : Math.min(side, panes.length - 1);
    });
    Object.assign(state, { zoom: 1, x: 0.5, y: 0.5, second: false });
    for (const id of ["left", "right"]) {
      get(id).replaceChildren(...panes.map(({ label }, value) => element("option", { text: label, value })));
    }
    get("regions").replaceChildren(...regions.map((region, position) => {
      const dot = element("span", { className: "dot" });
      dot.style.borderColor = FRAMES[position % FRAMES.length];
      return element("button", { type: "button", onclick: () => lookAt(region) }, dot, region.why);
    }));
    get("notes").replaceChildren(...notes.map(({ text, failed }) =>
      element("span", { text: `${text} `, className: failed ? "failed" : "" })));
    get("picture").value = state.picture;
    get("previous").disabled = state.picture === 0;
    get("next").disabled = state.picture === facts.pictures.length - 1;
    for (const row of document.querySelectorAll("tr[data-picture]")) {
      row.setAttribute("aria-current", Number(row.dataset.picture) === state.picture);
    }
    render();
  }

  const change = (values) => { Object.assign(state, values); render(); };

  // ---- pointers ----

  let gesture = "";
  let travelled = 0;

  const splitAt = (event, box) => moveSplit((event.clientX - box.left) / box.width);

  stage.addEventListener("pointerdown", (event) => {
    const touched = event.target.closest(".pane");
    if (!touched || event.button !== 0) return;
    touched.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
    if (pointers.size > 1) {
      gesture = "pinch";
      return;
    }
    travelled = 0;
    const divides = state.view === "slider" && (event.target.closest(".handle") || state.zoom === 1);
    gesture = divides ? "divide" : "pan";
    if (divides) splitAt(event, touched.getBoundingClientRect());
  });

  stage.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const box = event.target.closest(".pane").getBoundingClientRect();
    const now = [event.clientX, event.clientY];
    const moved = [now[0] - before[0], now[1] - before[1]];
    travelled += Math.hypot(...moved);
    pointers.set(event.pointerId, now);
    if (gesture === "divide") {
      splitAt(event, box);
    } else if (pointers.size === 1) {
      panBy(...moved);
    } else {
      const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
      const apart = (point) => Math.max(1, Math.hypot(point[0] - other[0], point[1] - other[1]));
      zoomBy(apart(now) / apart(before), other[0] - box.left - box.width / 2, other[1] - box.top - box.height / 2);
    }
  });

  for (const name of ["pointerup", "pointercancel"]) {
    stage.addEventListener(name, (event) => {
      const tapped = name === "pointerup" && gesture === "pan" && travelled < 5;
      if (pointers.delete(event.pointerId) && tapped && state.view === "flicker") showOne(!state.second);
    });
  }

  stage.addEventListener("wheel", (event) => {
    const touched = event.target.closest(".pane");
    if (!touched || (event.deltaY > 0 && state.zoom === 1)) return; // the page scrolls on where nothing can get smaller
    event.preventDefault();
    const box = touched.getBoundingClientRect();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? 1 : 16;
    const speed = event.ctrlKey ? 0.01 : 0.002; // with ctrlKey two fingers on a touchpad are meant
    zoomBy(
      Math.exp(-between(-250, event.deltaY * lines, 250) * speed),
      event.clientX - box.left - box.width / 2,
      event.clientY - box.top - box.height / 2,
    );
  }, { passive: false });

  // ---- keys ----

  const STEP = 0.02;
  let heldSince = 0;

  function flick() {
    heldSince = performance.now();
    if (state.view !== "flicker") change({ view: "flicker", second: false });
    showOne(!state.second);
  }

  const keys = {
    " ": flick,
    "+": () => zoomBy(1.5),
    "=": () => zoomBy(1.5),
    "-": () => zoomBy(1 / 1.5),
    _: () => zoomBy(1 / 1.5),
    0: () => zoomBy(0), // clamped to the whole picture
    n: () => open(state.picture + 1),
    p: () => open(state.picture - 1),
    x: () => change({ pair: [...state.pair].reverse() }),
    ...Object.fromEntries(VIEWS.map((view, index) => [index + 1, () => change({ view })])),
  };
  const divider = {
    ArrowLeft: () => moveSplit(state.split - STEP),
    ArrowRight: () => moveSplit(state.split + STEP),
    PageDown: () => moveSplit(state.split - 5 * STEP),
    PageUp: () => moveSplit(state.split + 5 * STEP),
    Home: () => moveSplit(0),
    End: () => moveSplit(1),
  };
  const pan = {
    ArrowLeft: () => panBy(60, 0),
    ArrowRight: () => panBy(-60, 0),
    ArrowUp: () => panBy(0, 60),
    ArrowDown: () => panBy(0, -60),
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select, input, .scroll")) return;
    if (event.key === " " && event.target.closest("button")) return; // presses the button
    const paging = event.key.startsWith("Page") && !event.target.closest(".handle"); // scrolls the page elsewhere
    const moves = state.view === "slider" && !event.shiftKey && !paging && divider[event.key];
    const act = moves || (state.zoom > 1 && pan[event.key]) || keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    if (event.key !== " " || !event.repeat) act();
  });
  document.addEventListener("keyup", (event) => {
    // held, not pressed: back to the one before
    if (event.key === " " && heldSince && state.view === "flicker" && performance.now() - heldSince > 400) showOne(!state.second);
    heldSince = 0;
  });

  // ---- buttons ----

  // After a click the keys act on the picture; whoever came by keyboard stays at the button.
  document.addEventListener("click", (event) => {
    if (event.detail && event.target.closest(".bars button")) stage.focus({ preventScroll: true });
  });
  for (const button of get("views").children) button.onclick = () => change({ view: button.dataset.view });
  get("in").onclick = keys["+"];
  get("out").onclick = keys["-"];
  get("whole").onclick = keys[0];
  get("next").onclick = keys.n;
  get("previous").onclick = keys.p;
  get("swap").onclick = keys.x;
  get("left").onchange = (event) => change({ pair: [Number(event.target.value), state.pair[1]] });
  get("right").onchange = (event) => change({ pair: [state.pair[0], Number(event.target.value)] });
  get("picture").onchange = (event) => open(Number(event.target.value));
  get("gain").onchange = (event) => change({ gain: Number(event.target.value) });
  for (const row of document.querySelectorAll("tr[data-picture]")) {
    row.querySelector("button").onclick = () => {
      open(Number(row.dataset.picture));
      stage.scrollIntoView({ block: "nearest" });
    };
  }

  get("gain").append(...[1, 2, 4, 8, 16, 32].map((value) => element("option", { value, text: `${value} times` })));
  get("gain").value = state.gain;
  get("picture").append(...facts.pictures.map(({ title }, value) => element("option", { value, text: title })));
  get("picker").hidden = facts.pictures.length === 1;
  new ResizeObserver(place).observe(stage);
  open(0);
})();
