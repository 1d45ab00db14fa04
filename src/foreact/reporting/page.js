"use strict";
// Films: the video holds only pictures; this keeps labels, reach lines and action markers on the frame that is on screen.
const root = document.documentElement;
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
const PLAY = '<svg viewBox="0 0 10 10"><path d="M1.5 0 10 5 1.5 10z"/></svg>';
const PAUSE = '<svg viewBox="0 0 10 10"><path d="M1 0h3v10H1zM6 0h3v10H6z"/></svg>';

function markers(figure) {
  return [...figure.querySelectorAll(".actions")].flatMap((box) => [...box.querySelectorAll("svg")].flatMap((svg) => {
    const x = (line) => parseFloat(line.querySelector("path").getAttribute("d").slice(1));
    const now = [...svg.querySelectorAll(".now")], end = [...svg.querySelectorAll(".end")];
    return now.map((line, i) => ({ line, step: (x(end[i]) - x(line)) / Number(box.dataset.steps) }));
  }));
}

function setUp(film) {
  const data = JSON.parse(film.querySelector("script").textContent);
  const video = film.querySelector("video"), slider = film.querySelector("input"), play = film.querySelector(".play");
  const seen = film.querySelector(".seen"), imagined = film.querySelector(".when"), gap = film.querySelector(".gap");
  const arcs = new Map([...film.querySelectorAll(".reach path")].map((path) => [path.dataset.pair, path]));
  const lines = markers(film.closest("[data-group]"));
  let lit = null, wanted = !still, visible = true, last = -1;

  function show(frame) {
    if (frame === last) return;
    last = frame;
    slider.value = frame;
    seen.textContent = `step ${frame} of ${data.frames - 1}` + (data.undone[frame] ? ", taken back later" : "");
    for (const { line, step } of lines) line.setAttribute("transform", `translate(${(frame * step).toFixed(2)} 0)`);
    const pair = data.shown[frame];
    film.classList.toggle("aligned", Boolean(pair) && pair[1] === frame);
    if (lit) lit.classList.remove("on");
    if (!imagined) return;
    if (!pair) {
      imagined.textContent = data.first === null ? "nothing" : `first image is for step ${data.first}`;
      gap.textContent = "";
      return;
    }
    const held = frame - pair[1];
    imagined.textContent = `at step ${pair[0]} for step ${pair[1]}` + (held ? `, held ${held}` : "");
    gap.textContent = `step ${pair[1]}: ${(pair[2] / 2.55).toFixed(1)} % of the range`;
    lit = arcs.get(`${pair[0]}-${pair[1]}`);
    if (lit) lit.classList.add("on");
  }
  const at = (time) => Math.min(Math.max(Math.floor(time * data.fps + 0.01), 0), data.frames - 1);
  if ("requestVideoFrameCallback" in video) {
    // The picture is copied in the same breath as its label is set: on a busy machine the video alone runs ahead of it.
    const canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
    canvas.width = video.width; canvas.height = video.height;
    video.after(canvas);
    const draw = (time) => {
      pen.drawImage(video, 0, 0, canvas.width, canvas.height);
      show(at(time));
    };
    const tick = (_, meta) => {
      draw(meta.mediaTime);
      video.requestVideoFrameCallback(tick);
    };
    // A frame from before the seek may have been presented after it, and the one sought is not always presented anew.
    video.addEventListener("seeked", () => { if (video.paused) draw(video.currentTime); });
    video.requestVideoFrameCallback(tick);
  } else {
    video.addEventListener("timeupdate", () => show(at(video.currentTime)));
  }
  function follow() {
    if (wanted && visible) video.play().catch(() => {}); else video.pause();
    play.innerHTML = wanted ? PAUSE : PLAY;
    play.setAttribute("aria-label", wanted ? "pause" : "play");
  }
  play.addEventListener("click", () => { wanted = !wanted; follow(); });
  film.querySelector(".screen").addEventListener("click", () => { wanted = !wanted; follow(); });
  slider.addEventListener("input", () => {
    wanted = false; follow();
    video.currentTime = (Number(slider.value) + 0.5) / data.fps;
    show(Number(slider.value));
  });
  for (const button of film.querySelectorAll("[data-speed]")) button.addEventListener("click", () => {
    video.playbackRate = Number(button.dataset.speed);
    for (const other of film.querySelectorAll("[data-speed]")) other.setAttribute("aria-pressed", String(other === button));
  });
  const toggle = film.querySelector(".toggle");
  if (toggle) toggle.addEventListener("click", () => {
    const on = film.classList.toggle("difference");
    toggle.setAttribute("aria-pressed", String(on));
    film.style.setProperty("--shown", on ? 3 : 2);
    film.style.setProperty("--full", on ? 1 : data.full);
    film.style.setProperty("--aspect", on ? data.aspect3 : data.aspect2);
    film.querySelector(".third").hidden = !on;
  });
  new IntersectionObserver((entries) => { visible = entries[0].isIntersecting; follow(); }, { rootMargin: "80px" }).observe(film);
  // Begin where there is something to compare; a loop then starts from the first step.
  const begin = data.first !== null && data.first < data.frames ? data.first : 0;
  video.currentTime = (begin + 0.5) / data.fps;
  show(begin);
  follow();
}

document.querySelectorAll(".film").forEach(setUp);

// Filters of the gallery.
for (const chip of document.querySelectorAll("[data-filter]")) chip.addEventListener("click", () => {
  for (const other of document.querySelectorAll("[data-filter]")) other.setAttribute("aria-pressed", String(other === chip));
  for (const card of document.querySelectorAll(".gallery [data-tags]"))
    card.hidden = chip.dataset.filter !== "all" && !card.dataset.tags.split(" ").includes(chip.dataset.filter);
});

// Light and dark: the system's wish until the reader says otherwise.
const theme = document.querySelector("#theme");
theme.addEventListener("click", () => {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});

// How many videos this browser could decode, for anyone who checks the page by machine.
const videos = [...document.querySelectorAll("video")], decoded = new Set();
function tally() {
  for (const video of videos) if (video.readyState >= 2 && video.videoWidth > 0) decoded.add(video);
  root.dataset.decoded = decoded.size;
  root.dataset.failed = videos.filter((video) => video.error).length;
}
for (const video of videos) for (const event of ["loadeddata", "seeked", "error"]) video.addEventListener(event, tally);
root.dataset.videos = videos.length;
tally();
