"use strict";
// Two pictures of one place in turn. Without scripts they stand one below the other.
for (const box of document.querySelectorAll(".flicker")) {
  const play = box.querySelector("button");
  let timer = null;
  const stop = () => { clearInterval(timer); timer = null; play.setAttribute("aria-pressed", "false"); play.textContent = "start flicker"; };
  const turn = () => box.classList.toggle("second");
  box.classList.add("on");
  play.hidden = false;
  play.addEventListener("click", () => {
    if (timer) { stop(); return; }
    timer = setInterval(turn, 700); play.setAttribute("aria-pressed", "true"); play.textContent = "stop flicker";
  });
  box.querySelector(".pair").addEventListener("click", () => { stop(); turn(); });
}
// The frames of a cine, one at a time. Without scripts the first one stands.
for (const film of document.querySelectorAll(".film")) {
  const play = film.querySelector("button"), slider = film.querySelector("input"), frames = film.querySelectorAll("img");
  let timer = null;
  const show = () => frames.forEach((one, n) => { one.hidden = n !== Number(slider.value); });
  const stop = () => { clearInterval(timer); timer = null; play.setAttribute("aria-pressed", "false"); play.textContent = "play"; };
  film.querySelector(".controls").hidden = false;
  slider.addEventListener("input", () => { stop(); show(); });
  play.addEventListener("click", () => {
    if (timer) { stop(); return; }
    timer = setInterval(() => { slider.value = (Number(slider.value) + 1) % frames.length; show(); }, 120);
    play.setAttribute("aria-pressed", "true"); play.textContent = "pause";
  });
}
window.addEventListener("beforeprint", () => { for (const one of document.querySelectorAll("details")) one.open = true; });
