"use strict";
(() => {
  const place = document.getElementById("try");
  const choose = place.querySelector("input");
  const picture = place.querySelector("img");
  const status = place.querySelector("[role=status]");
  const table = place.querySelector("table");

  const show = (answer) => {
    const rows = answer.classes.map((item) => {
      const row = document.createElement("tr");
      const [name, share, bar] = ["td", "td", "td"].map((tag) => document.createElement(tag));
      name.textContent = item.class_name;
      share.textContent = `${(100 * item.probability).toFixed(1)} %`;
      share.className = "number";
      const meter = document.createElement("meter");
      meter.value = item.probability;
      bar.append(meter);
      row.append(name, share, bar);
      return row;
    });
    table.tBodies[0].replaceChildren(...rows);
    table.hidden = false;
    status.textContent = `${answer.latency_ms.toFixed(2)} ms on the machine of this service (not certified)`;
  };

  let given = null; // the last file: an answer about one before comes too late

  const send = async (file) => {
    given = file;
    table.hidden = true;
    status.textContent = "asking ...";
    picture.hidden = true;
    URL.revokeObjectURL(picture.src);
    picture.src = URL.createObjectURL(file);
    let fault = "";
    try {
      const response = await fetch(place.dataset.address, { method: "POST", body: file });
      const answer = await response.json().catch(() => ({}));
      if (given !== file) return;
      if (response.ok && answer.classes) show(answer);
      else fault = answer.message ?? `the service answers with status ${response.status}`;
    } catch (error) {
      fault = `the service does not answer: ${error.message}`;
    }
    if (given === file && fault) status.textContent = fault;
  };

  // What the browser cannot show (a broken file, some formats) leaves no sign of a broken picture.
  picture.addEventListener("load", () => { picture.hidden = false; });

  choose.addEventListener("change", () => choose.files.length && send(choose.files[0]));
  for (const name of ["dragover", "dragenter"]) {
    place.addEventListener(name, (event) => {
      event.preventDefault();
      place.classList.add("over-it");
    });
  }
  place.addEventListener("dragleave", () => place.classList.remove("over-it"));
  place.addEventListener("drop", (event) => {
    event.preventDefault();
    place.classList.remove("over-it");
    if (event.dataTransfer.files.length) send(event.dataTransfer.files[0]);
  });
})();
