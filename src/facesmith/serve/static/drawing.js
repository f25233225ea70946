// Faces drawn into a canvas. Colours and their order are those of the Python side.

const BOX = "rgb(64, 224, 120)";
const DARK = "rgb(16, 20, 24)";
const LANDMARKS = ["rgb(255, 64, 64)", "rgb(64, 128, 255)", "rgb(255, 226, 48)", "rgb(255, 104, 232)", "rgb(48, 240, 240)"];
const MESH = [72, 140, 255];
const SHADES = 16; // triangles of one shade are filled together

/**
 * Draw `image` and what `shown` names (boxes, scores, landmarks, mesh) of `faces`.
 *
 * `scale` is canvas pixels in one pixel of the picture; lines are `line` canvas pixels wide.
 */
export function draw(canvas, image, { faces, triangles }, { scale, line, shown }) {
  canvas.width = Math.max(1, Math.round(image.width * scale));
  canvas.height = Math.max(1, Math.round(image.height * scale));
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  const worstFirst = [...faces].reverse();
  if (shown.mesh && triangles) {
    for (const face of worstFirst) if (face.vertices) drawMesh(context, face.vertices, triangles, scale);
  }
  if (shown.boxes) for (const face of worstFirst) drawBox(context, face, scale, line);
  if (shown.landmarks) for (const face of worstFirst) drawLandmarks(context, face, scale, line);
  if (shown.scores) for (const face of worstFirst) drawScore(context, face, scale, line);
}

function side({ box }, scale) {
  return Math.max(0, Math.min(box[2] - box[0], box[3] - box[1])) * scale;
}

function drawBox(context, face, scale, line) {
  const [x1, y1, x2, y2] = face.box.map((value) => value * scale);
  const width = Math.max(1, Math.min(line, side(face, scale) / 16));
  for (const [colour, more] of [[DARK, 1.5], [BOX, 0]]) {
    context.strokeStyle = colour;
    context.lineWidth = width + more;
    context.strokeRect(x1, y1, x2 - x1, y2 - y1);
  }
}

function drawLandmarks(context, face, scale, line) {
  const radius = Math.max(1, Math.min(line * 1.6, side(face, scale) / 22));
  (face.landmarks ?? []).forEach(([x, y], index) => {
    context.beginPath();
    context.arc(x * scale, y * scale, radius, 0, 2 * Math.PI);
    context.fillStyle = LANDMARKS[index];
    context.strokeStyle = DARK;
    context.lineWidth = radius / 3;
    context.stroke();
    context.fill();
  });
}

function drawScore(context, face, scale, line) {
  const size = Math.max(9, Math.min(line * 6.5, side(face, scale) * 0.32));
  const text = face.score.toFixed(2);
  context.font = `600 ${size}px system-ui, sans-serif`;
  const width = context.measureText(text).width + size * 0.5;
  const height = size * 1.25;
  const above = face.box[1] * scale - height - 1;
  const y = above >= 0 ? above : Math.min(face.box[3] * scale + 1, context.canvas.height - height);
  const x = Math.max(0, Math.min(face.box[0] * scale - 1, context.canvas.width - width));
  context.fillStyle = BOX;
  context.fillRect(x, y, width, height);
  context.fillStyle = DARK;
  context.textBaseline = "middle";
  context.fillText(text, x + size * 0.25, y + height * 0.54);
}

/** Fill the triangles that face the viewer, each as bright as it faces him. */
function drawMesh(context, vertices, triangles, scale) {
  const paths = Array.from({ length: SHADES }, () => new Path2D());
  for (const [i, j, k] of triangles) {
    const [a, b, c] = [vertices[i], vertices[j], vertices[k]];
    const [ux, uy, uz] = [b[0] - a[0], a[1] - b[1], b[2] - a[2]]; // y up
    const [vx, vy, vz] = [c[0] - a[0], a[1] - c[1], c[2] - a[2]];
    const [nx, ny, nz] = [uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx];
    if (nz <= 0) continue;
    const facing = nz / Math.hypot(nx, ny, nz);
    const path = paths[Math.min(SHADES - 1, Math.floor(facing * SHADES))];
    path.moveTo(a[0] * scale, a[1] * scale);
    path.lineTo(b[0] * scale, b[1] * scale);
    path.lineTo(c[0] * scale, c[1] * scale);
    path.closePath();
  }
  paths.forEach((path, shade) => {
    const light = 0.25 + 0.75 * ((shade + 0.5) / SHADES) ** 2;
    context.fillStyle = `rgba(${MESH.map((value) => Math.round(value * light)).join(", ")}, 0.62)`;
    context.fill(path);
  });
}
