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
window.addEventListener("beforeprint", () => { for (const one of document.querySelectorAll("details")) one.open = true; });
