// Pictures from the camera, one after the other, as fast as they are worked on.

const LONGEST = 960; // pixels of the longer side that are sent

export class Camera {
  #video = document.createElement("video");
  #stream = null;

  get running() {
    return this.#stream !== null;
  }

  /** Hand each frame (a canvas, and the same as a JPEG Blob) to `work` and wait for it, until `stop`. */
  async run(work) {
    if (!navigator.mediaDevices) {
      throw new Error("Browsers give the camera to https pages and to localhost only.");
    }
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia({ video: { width: 1280, height: 720 } });
    } catch (error) {
      throw new Error(error.name === "NotAllowedError" ? "The camera was not allowed." : "There is no camera to use.");
    }
    this.#video.srcObject = this.#stream;
    this.#video.muted = this.#video.playsInline = true;
    try {
      await this.#video.play();
      while (this.running) await work(...(await this.#frame()));
    } finally {
      this.stop();
    }
  }

  stop() {
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#stream = null;
    this.#video.srcObject = null;
  }

  async #frame() {
    const { videoWidth: width, videoHeight: height } = this.#video;
    const scale = Math.min(1, LONGEST / Math.max(width, height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    canvas.getContext("2d").drawImage(this.#video, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.88));
    return [canvas, blob];
  }
}
