"use strict";
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 600px)");
  const hidden = new Set();
  const at = (id) => document.getElementById(id);
  let content = JSON.parse(at("content").textContent);
  let observer = null, playing = null;

  // --- charts ------------------------------------------------------------------------------------------------------

  function themed(chart) {
    let text = JSON.stringify(chart);
    if (dark.matches) for (const [light, other] of Object.entries(content.dark)) text = text.replaceAll(light, other);
    const { data, layout } = JSON.parse(text);
    const style = getComputedStyle(document.documentElement);
    const ink = style.getPropertyValue("--ink"), edge = style.getPropertyValue("--edge");
    for (const trace of data) trace.visible = !hidden.has(trace.meta);
    const axis = { gridcolor: edge, zerolinecolor: edge, linecolor: ink, color: ink, automargin: true };
    layout.xaxis = { ...axis, ...layout.xaxis };
    for (const name of Object.keys(layout).concat("yaxis")) if (name.startsWith("yaxis")) layout[name] = { ...axis, ...layout[name] };
    if (layout.scene) for (const name of ["xaxis", "yaxis", "zaxis"]) layout.scene[name] = { gridcolor: edge, color: ink, showbackground: false, ...layout.scene[name] };
    return {
      data,
      layout: {
        ...layout, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: ink, size: narrow.matches ? 11 : 13 },
        margin: chart.is_3d ? { l: 0, r: 0, t: 0, b: 0 } : { l: 50, r: 12, t: 12, b: 45 }, showlegend: false, uirevision: chart.name,
        hovermode: "closest", dragmode: narrow.matches && !chart.is_3d ? false : layout.dragmode || "zoom",
      },
    };
  }

  function draw(chart) {
    const place = at("chart-" + chart.name);
    if (!place) return;
    const { data, layout } = themed(chart);
    const config = { responsive: true, displaylogo: false, displayModeBar: false };
    Plotly.react(place, data, layout, config).then(() => place.setAttribute("data-drawn", "true"));
  }

  // One chart at a time, in the order in which they came near, so that the page answers in between.
  const waiting = [];
  function soon(chart) {
    if (waiting.push(chart) > 1) return;
    const next = () => {
      draw(waiting[0]);
      waiting.shift();
      if (waiting.length) setTimeout(next);
    };
    setTimeout(next);
  }

  const drawn = () => content.charts.filter((chart) => at("chart-" + chart.name)?.classList.contains("near"));
  const redraw = () => drawn().forEach(soon);

  function lazily() {
    if (observer) observer.disconnect();
    const byId = Object.fromEntries(content.charts.map((chart) => ["chart-" + chart.name, chart]));
    observer = new IntersectionObserver((entries) => {
      for (const entry of entries.filter((entry) => entry.isIntersecting)) {
        observer.unobserve(entry.target);
        entry.target.classList.add("near");
        soon(byId[entry.target.id]);
      }
    }, { rootMargin: "300px" });
    for (const id of Object.keys(byId)) observer.observe(at(id));
  }

  function turn(place, [around, up]) {
    const eye = place._fullLayout?.scene?.camera?.eye;
    if (!eye) return;
    const first = content.charts.find((chart) => "chart-" + chart.name === place.id).layout.scene.camera.eye;
    const radius = Math.hypot(eye.x, eye.y, eye.z);
    const azimuth = Math.atan2(eye.y, eye.x) + around * 0.35;
    const height = Math.max(-1.3, Math.min(1.3, Math.asin(eye.z / radius) + up * 0.2));
    const moved = { x: radius * Math.cos(height) * Math.cos(azimuth), y: radius * Math.cos(height) * Math.sin(azimuth), z: radius * Math.sin(height) };
    Plotly.relayout(place, { "scene.camera.eye": around || up ? moved : first });
  }

  // --- trajectories on and off -------------------------------------------------------------------------------------

  function show(names, on) {
    for (const name of names) on ? hidden.delete(name) : hidden.add(name);
    for (const button of document.querySelectorAll(".toggle")) button.setAttribute("aria-pressed", String(!hidden.has(button.dataset.trajectory)));
    redraw();
  }

  // --- tables ------------------------------------------------------------------------------------------------------

  function sortable(table) {
    const heads = [...table.tHead.rows[0].cells];
    const cell = (body, i) => body.rows[0].cells[i].textContent.trim();
    const sort = (i, up) => {
      const bodies = [...table.tBodies], key = (body) => parseFloat(cell(body, i));
      const words = bodies.every((body) => isNaN(key(body)));
      bodies.sort((a, b) => {
        if (words) return (up ? 1 : -1) * cell(a, i).localeCompare(cell(b, i), undefined, { numeric: true });
        if (isNaN(key(a)) || isNaN(key(b))) return isNaN(key(a)) - isNaN(key(b)); // without a number: last, both ways
        return (up ? 1 : -1) * (key(a) - key(b));
      });
      table.append(...bodies);
      heads.forEach((head, j) => (i === j ? head.setAttribute("aria-sort", up ? "ascending" : "descending") : head.removeAttribute("aria-sort")));
    };
    heads.forEach((head, i) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      button.onclick = () => sort(i, head.getAttribute("aria-sort") !== "ascending");
      head.append(button);
    });
  }

  // --- images ------------------------------------------------------------------------------------------------------

  function gallery() {
    const select = at("gallery-trajectory"), slider = at("gallery-step");
    if (!select) return;
    const frames = () => content.frames[select.value];
    const picture = () => {
      const frame = frames()[Number(slider.value)];
      at("gallery-image").src = frame.src;
      at("gallery-image").alt = content.image_rows + " at " + frame.caption;
      at("gallery-caption").textContent = frame.caption;
      slider.setAttribute("aria-valuetext", frame.caption);
    };
    const choose = () => { slider.max = frames().length - 1; slider.value = Math.min(Number(slider.value), frames().length - 1); picture(); };
    const move = (by) => { slider.value = Number(slider.value) + by; picture(); };
    const stop = () => { clearInterval(playing); playing = null; at("gallery-play")?.setAttribute("aria-pressed", "false"); };
    select.onchange = choose;
    slider.oninput = picture;
    at("gallery-back").onclick = () => move(-1);
    at("gallery-on").onclick = () => move(1);
    at("gallery-play").onclick = () => {
      if (playing) return stop();
      if (Number(slider.value) >= Number(slider.max)) slider.value = 0;
      at("gallery-play").setAttribute("aria-pressed", "true");
      playing = setInterval(() => (Number(slider.value) >= Number(slider.max) ? stop() : move(1)), 500);
    };
    stop();
    choose();
  }

  // --- the page ----------------------------------------------------------------------------------------------------

  function start() {
    for (const button of document.querySelectorAll(".toggle")) button.onclick = () => show([button.dataset.trajectory], hidden.has(button.dataset.trajectory));
    const every = [...document.querySelectorAll(".toggle")].map((button) => button.dataset.trajectory);
    if (at("show-all")) at("show-all").onclick = () => show(every, hidden.size > 0);
    for (const button of document.querySelectorAll("[data-turn]")) {
      button.onclick = () => turn(button.closest("figure").querySelector(".plot"), button.dataset.turn.split(" ").map(Number));
    }
    document.querySelectorAll("table.sortable").forEach(sortable);
    lazily();
    gallery();
    show([], true);
  }

  function replace(fresh) {
    const open = [...document.querySelectorAll("details")].map((one) => one.open);
    const chosen = [at("gallery-trajectory")?.value, at("gallery-step")?.value];
    const focused = document.activeElement?.id;
    const [x, y] = [scrollX, scrollY];
    const cameras = {};
    for (const chart of content.charts) cameras[chart.name] = at("chart-" + chart.name)?._fullLayout?.scene?.camera;
    for (const place of document.querySelectorAll(".plot")) Plotly.purge(place);
    at("main").innerHTML = fresh.main;
    content = fresh.content;
    for (const chart of content.charts) if (cameras[chart.name]?.eye) chart.layout.scene.camera = JSON.parse(JSON.stringify(cameras[chart.name]));
    const details = [...document.querySelectorAll("details")];
    if (details.length === open.length) details.forEach((one, i) => { one.open = open[i]; });
    if (at("gallery-trajectory") && chosen[0] in content.frames) {
      at("gallery-trajectory").value = chosen[0];
      at("gallery-step").max = content.frames[chosen[0]].length - 1;
      at("gallery-step").value = chosen[1];
    }
    start();
    scrollTo({ left: x, top: y, behavior: "instant" });
    if (focused) at(focused)?.focus({ preventScroll: true });
  }

  let asking = false;
  async function follow(version) {
    if (asking) return;
    asking = true;
    try {
      if (version !== document.body.dataset.live) {
        const answer = await fetch("content" + location.search, { cache: "no-store" });
        if (!answer.ok) return say(await answer.text() + "; this is what it showed last.");
        const fresh = await answer.json();
        replace(fresh);
        document.body.dataset.live = fresh.version;
      }
      say("Live: rows appear here as they are stored.");
    } catch { silence(); } finally { asking = false; }
  }
  const say = (text) => { at("live").textContent = text; };
  const silence = () => say("The server does not answer; this is what it showed last.");

  dark.addEventListener("change", redraw);
  narrow.addEventListener("change", redraw);
  addEventListener("beforeprint", () => content.charts.forEach(draw));
  start();
  if (document.body.dataset.live !== undefined) {
    at("live").hidden = false;
    const events = new EventSource("events" + location.search);
    events.onmessage = (event) => follow(event.data);
    events.onerror = silence;
  }
})();
