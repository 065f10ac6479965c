"use strict";
(() => {
  const words = document.getElementById("look-words");
  const open = document.getElementById("look-open");
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const unpacked = (data) => new Response(new Blob([data]).stream().pipeThrough(new DecompressionStream("gzip")));

  async function start() {
    const packed = bytes(document.getElementById("look-library").textContent);
    const script = document.createElement("script");
    script.textContent = await (await unpacked(packed)).text();
    document.head.append(script);
    document.getElementById("viewer").hidden = false;
    document.getElementById("look-bar").hidden = false;
    const viewer = new niivue.Niivue({
      isRadiologicalConvention: true, multiplanarShowRender: 0, crosshairWidth: 0.6, crosshairColor: [1, 0.8, 0.2, 0.6],
      backColor: [0.06, 0.07, 0.09, 1], logLevel: "error", show3Dcrosshair: false, isColorbar: false, sagittalNoseLeft: true,
    });
    await viewer.attachTo("look-canvas");
    const given = JSON.parse(document.getElementById("look-data").textContent).volumes;
    for (const [n, one] of given.entries()) {
      const image = await niivue.NVImage.new(
        (await (await unpacked(bytes(one.data))).arrayBuffer()), one.name + ".nii", "gray", n ? 0 : 1, null, 0, 255, true);
      if (one.labels) image.setColormapLabel(one.labels);
      viewer.addVolume(image);
    }
    viewer.setSliceType(viewer.sliceTypeMultiplanar);
    const set = (slider) => viewer.setOpacity(given.findIndex((one) => one.name === slider.dataset.volume), Number(slider.value));
    for (const slider of document.querySelectorAll("#look-bar input")) {
      slider.addEventListener("input", () => set(slider));
      set(slider);
    }
    window.lookViewer = viewer;
    document.getElementById("viewer").dataset.ready = "yes";
  }

  open.addEventListener("click", async () => {
    open.disabled = true;
    try { await start(); } catch (error) {
      document.getElementById("viewer").hidden = true;
      words.textContent = "The viewer needs a browser with WebGL 2 (" + error.message + "). The pictures above show the same.";
    }
  });
})();
