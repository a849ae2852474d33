// What a page can do without is all that is in here: the plot, the line's state, and a little help with forms.
"use strict";

const line = document.getElementById("line");

function say(state, text) {
  if (!line || line.dataset.state === state) return;
  line.dataset.state = state;
  line.classList.toggle("live", state === "live");
  line.classList.toggle("lost", state === "lost");
  line.querySelector(".said").textContent = text;
}

// -- the plot ---------------------------------------------------------------------------------------------------------

let plot = null;
let drawn = "";

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function draw(anew) {
  const place = document.getElementById("plot");
  if (!place || typeof uPlot === "undefined") return;
  const text = place.dataset.series;
  if (!anew && text === drawn && plot && place.contains(plot.root)) return;
  drawn = text;
  const found = JSON.parse(text);
  const data = [found.at, found.minutes, found.letters, found.rejections];
  if (plot && !anew && place.contains(plot.root)) {
    plot.setData(data);
    return;
  }
  if (plot) plot.destroy();
  place.replaceChildren();
  const bars = (tone) => ({
    stroke: colour(tone), fill: `${colour(tone)}b0`, width: 0, points: { show: false }, paths: uPlot.paths.bars({ size: [0.75, 12] }),
  });
  const curve = (tone) => ({
    stroke: colour(tone), width: 2, points: { show: false }, paths: uPlot.paths.linear(),
  });
  const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  plot = new uPlot({
    width: place.clientWidth, height: place.clientHeight, legend: { show: false }, cursor: { y: false },
    scales: { x: { time: true, range: (_, low, high) => [low - 30, high + 30] }, y: { range: (_, low, high) => [0, Math.max(4, high * 1.15)] } },
    axes: [
      { ...axis, values: (_, at) => at.map((each) => new Date(each * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" })), size: 28 },
      { ...axis, size: 44, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000] },
    ],
    series: [{}, bars("--plot-errors"), curve("--plot-letters"), curve("--plot-rejections")],
  }, data, place);
}

addEventListener("resize", () => plot && plot.setSize({ width: document.getElementById("plot").clientWidth, height: 190 }));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw(true));

// -- live -------------------------------------------------------------------------------------------------------------

document.addEventListener("htmx:sse:after:connection", () => say("live", "live"));
document.addEventListener("htmx:sse:after:message", () => { say("live", "live"); draw(false); over(); });
document.addEventListener("htmx:sse:error", () => say("lost", "not live: trying again"));
document.addEventListener("htmx:sse:close", () => say("lost", "not live: reload the page"));

// A replay that is over needs no stop.
function over() {
  const stop = document.querySelector("form.stop");
  const bar = document.querySelector("#live .state .pill");
  if (stop && bar && !bar.textContent.includes("running")) stop.remove();
}

const here = document.querySelector("nav [aria-current]");
if (here) here.closest("ul").scrollLeft = here.offsetLeft - 40;

// -- forms ------------------------------------------------------------------------------------------------------------

// The server replays once however often a form comes; this only keeps a second click from looking as if it did something.
document.addEventListener("submit", (event) => {
  if (event.defaultPrevented) return;
  const form = event.target;
  if (form.matches("[data-once], [data-choose]")) {
    setTimeout(() => form.querySelectorAll("button").forEach((each) => { each.disabled = true; }), 0);
  }
});
addEventListener("pageshow", () => document.querySelectorAll("button[disabled]").forEach((each) => { each.disabled = false; }));

const chooser = document.querySelector("form[data-choose]");
if (chooser) {
  const all = chooser.querySelector("[data-all]");
  const ticks = [...chooser.querySelectorAll('input[name="id"]')];
  const count = chooser.querySelector("[data-count]");
  const selected = chooser.querySelectorAll('[value="replay-selected"], [value="discard-selected"]');
  const update = () => {
    const chosen = ticks.filter((each) => each.checked).length;
    if (count) { count.textContent = chosen; count.hidden = !chosen; }
    if (all) { all.checked = chosen > 0 && chosen === ticks.length; all.indeterminate = chosen > 0 && chosen < ticks.length; }
    selected.forEach((each) => { each.disabled = !chosen; });
  };
  if (all) all.addEventListener("change", () => { ticks.forEach((each) => { each.checked = all.checked; }); update(); });
  ticks.forEach((each) => each.addEventListener("change", update));
  addEventListener("pageshow", update);
  update();
}

// This script comes before htmx, so as to miss none of its events; the plot's library comes after both.
document.addEventListener("DOMContentLoaded", () => draw(true));
