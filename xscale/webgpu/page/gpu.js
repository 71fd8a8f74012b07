// Drawing: the same shaders as xscale's own, and the buffers that they read.

class Unsupported extends Error {}
class NoChip extends Unsupported {}

const ROW = 64;

async function openDevice(meta) {
  if (!("gpu" in navigator) || !navigator.gpu) throw new Unsupported("This browser has no WebGPU.");
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) throw new NoChip("WebGPU finds no graphics chip that it may use.");
  for (const [name, least] of Object.entries(meta.limits)) {
    if (!(adapter.limits[name] >= least)) throw new Unsupported(`This graphics chip is too small: ${name} is ${adapter.limits[name]}, ${least} are needed.`);
  }
  return adapter.requestDevice({ requiredLimits: meta.limits });
}

class Drawer {
  constructor(device, meta, mesh, net, canvas) {
    this.device = device;
    this.meta = meta;
    this.mesh = mesh;
    this.canvas = canvas;
    this.levels = 0;
    const U = GPUBufferUsage;
    const filled = (bytes, usage) => {
      const buffer = device.createBuffer({ size: Math.ceil(bytes.byteLength / 4) * 4, usage: usage | U.COPY_DST });
      const padded = bytes.byteLength % 4 ? new Uint8Array(Math.ceil(bytes.byteLength / 4) * 4) : bytes;
      if (padded !== bytes) padded.set(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
      device.queue.writeBuffer(buffer, 0, padded);
      return buffer;
    };
    this.frame = device.createBuffer({ size: 176, usage: U.UNIFORM | U.COPY_DST });
    this.shownSize = device.createBuffer({ size: 32, usage: U.UNIFORM | U.COPY_DST });
    this.piece = filled(new Uint32Array([0, meta.mesh.faces, 0, 0]), U.UNIFORM);
    this.vertices = filled(mesh.vertices, U.STORAGE);
    this.faces = filled(cornersWithSides(mesh), U.STORAGE);
    this.net = filled(net, meta.weights === "uniform" ? U.UNIFORM : U.STORAGE);
    this.tables = meta.groups.map((size) => device.createBuffer({ size, usage: U.STORAGE | U.COPY_DST }));
    this.sky = filled(skyRecord(meta.sky), U.UNIFORM);
    this.skyTexture = device.createBuffer({ size: Math.max(16, 8 * meta.sky.rows * meta.sky.rows), usage: U.STORAGE | U.COPY_DST });
    this.format = navigator.gpu.getPreferredCanvasFormat();
    this.context = canvas.getContext("webgpu");
    if (!this.context) throw new Unsupported("This browser cannot draw with WebGPU into a canvas.");
    this.context.configure({ device, format: this.format, alphaMode: "opaque" });
  }

  async compile() {
    const { device } = this, { wgsl } = this.meta;
    const modules = {};
    for (const [name, code] of Object.entries(wgsl)) modules[name] = device.createShaderModule({ code });
    const compute = (name, entryPoint) => device.createComputePipelineAsync({ layout: "auto", compute: { module: modules[name], entryPoint } });
    [this.draw, this.paint, this.fill, this.gather, this.show] = await Promise.all([
      device.createRenderPipelineAsync({
        layout: "auto",
        vertex: { module: modules.draw, entryPoint: "draw_vertex" },
        depthStencil: { format: "depth32float", depthWriteEnabled: true, depthCompare: "greater" },
        fragment: { module: modules.draw, entryPoint: "draw_fragment", targets: [{ format: "r32uint" }] },
      }),
      compute("paint", "paint"), compute("sky", "fill"), compute("gather", "gather"),
      device.createRenderPipelineAsync({
        layout: "auto",
        vertex: { module: modules.present, entryPoint: "cover" },
        fragment: { module: modules.present, entryPoint: "present", targets: [{ format: this.format }] },
      }),
    ]);
    this.meshGroup = this.group(this.draw, 0, [this.frame, this.piece, this.vertices, this.faces]);
    this.tableGroup = this.group(this.paint, 1, this.tables);
  }

  group(pipeline, set, resources) {
    return this.device.createBindGroup({
      layout: pipeline.getBindGroupLayout(set),
      entries: resources.map((resource, binding) => ({
        binding, resource: resource instanceof GPUBuffer ? { buffer: resource } : resource,
      })),
    });
  }

  addLevel(number, bytes) {
    const { group, begin } = this.meta.levels[number];
    this.device.queue.writeBuffer(this.tables[group], begin, bytes);
    this.levels++;
  }

  addSky(bytes) {
    const { rows, places } = this.meta.sky;
    if (bytes.length !== 6 * rows * rows * Math.max(1, places.length)) throw new Damaged("the background has another length");
    this.skyBytes = bytes;
    this.skyFrom = null;
    this.lookFrom([0, 0, 0]);
  }

  // Writes the background that is seen from a place: the mean of the pictures around it.
  lookFrom(eye) {
    const { rows, places } = this.meta.sky;
    if (!this.skyBytes || (this.skyFrom && (!places.length || norm(sub(eye, this.skyFrom)) === 0))) return;
    this.skyFrom = eye;
    const count = 2 * rows * rows, texels = new Uint32Array(count);
    const mean = new Float32Array(3 * count).fill(places.length ? 0.5 : 0);
    const share = places.length ? sharesOf(places, eye) : [1];
    share.forEach((s, p) => {
      if (s > 0) for (let i = 0; i < 3 * count; i++) mean[i] += s * this.skyBytes[3 * count * p + i];
    });
    for (let i = 0; i < count; i++) texels[i] = Math.floor(mean[3 * i]) | (Math.floor(mean[3 * i + 1]) << 8) | (Math.floor(mean[3 * i + 2]) << 16);
    this.device.queue.writeBuffer(this.skyTexture, 0, texels);
  }

  target(width, height) {
    const now = this.now;
    if (now && now.width === width && now.height === height) return now;
    if (now) for (const part of [now.face, now.depth, now.picture, now.sums, now.shown]) part.destroy();
    const { device } = this, T = GPUTextureUsage, U = GPUBufferUsage;
    const stride = Math.ceil(width / ROW) * ROW, size = [width, height];
    const words = (count) => device.createBuffer({ size: 4 * count * stride * height, usage: U.STORAGE | U.COPY_SRC });
    const made = {
      width, height, stride,
      face: device.createTexture({ size, format: "r32uint", usage: T.RENDER_ATTACHMENT | T.TEXTURE_BINDING | T.COPY_SRC }),
      depth: device.createTexture({ size, format: "depth32float", usage: T.RENDER_ATTACHMENT }),
      picture: words(1), sums: words(2), shown: words(1),
    };
    made.faceView = made.face.createView();
    made.depthView = made.depth.createView();
    made.paint = this.group(this.paint, 0, [this.frame, this.piece, this.vertices, this.faces, this.net, made.faceView, made.picture]);
    made.fill = this.group(this.fill, 0, [this.frame, this.sky, this.skyTexture, made.picture]);
    made.gather = this.group(this.gather, 0, [this.frame, made.picture, made.sums, made.shown]);
    made.show = { picture: this.group(this.show, 0, [this.shownSize, made.picture]), shown: this.group(this.show, 0, [this.shownSize, made.shown]) };
    this.now = made;
    return made;
  }

  // The shaders' record of a view (painter.py, frame). sample: column and row of a grid of samples.
  record(view, target, samples, sample, again) {
    const { meta } = this, f = new Float32Array(44), u = new Uint32Array(f.buffer);
    const focal = view.f * Math.min(target.width, target.height);
    f.set(view.R[0], 0); f.set(view.R[1], 4); f.set(view.R[2], 8);
    const high = view.eye.map(Math.fround);
    f.set(high, 12);
    f.set(view.eye.map((x, i) => x - high[i]), 16);
    f.set([focal, focal, target.width / 2, target.height / 2], 20);
    f.set([0, meta.near, (sample[0] + 0.5) / samples, (sample[1] + 0.5) / samples], 24);
    u.set([target.width, target.height, target.stride, 0], 28);
    f.set(meta.centre, 32); f.set(meta.unit, 36);
    f.set([meta.range, meta.fade / samples, again ? 1 : 0, 0], 40);
    return { f, u };
  }

  // Faces of one sample of every pixel.
  drawFaces(target, record, eye) {
    const { device } = this;
    this.lookFrom(eye);
    device.queue.writeBuffer(this.frame, 0, record.f);
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginRenderPass({
      colorAttachments: [{ view: target.faceView, clearValue: [0, 0, 0, 0], loadOp: "clear", storeOp: "store" }],
      depthStencilAttachment: { view: target.depthView, depthClearValue: 0, depthLoadOp: "clear", depthStoreOp: "discard" },
    });
    pass.setPipeline(this.draw);
    pass.setBindGroup(0, this.meshGroup);
    pass.draw(3 * this.meta.mesh.faces);
    pass.end();
    device.queue.submit([encoder.finish()]);
  }

  // Colours of some rows: mesh, background, and the mean with the samples before.
  shade(target, record, top, rows, gathers) {
    const { device } = this;
    record.u[31] = top;
    device.queue.writeBuffer(this.frame, 0, record.f);
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    const run = (pipeline, groups, lanes) => {
      pass.setPipeline(pipeline);
      groups.forEach((group, i) => pass.setBindGroup(i, group));
      pass.dispatchWorkgroups(Math.ceil(target.width / 8), Math.ceil(rows / lanes));
    };
    run(this.paint, [target.paint, this.tableGroup], this.meta.lanes);
    run(this.fill, [target.fill], 8);
    if (gathers) run(this.gather, [target.gather], 8);
    pass.end();
    device.queue.submit([encoder.finish()]);
  }

  // Puts the last picture onto the canvas.
  present(target, which) {
    const { device, canvas } = this;
    const size = new Uint32Array([target.width, target.height, target.stride, 0, 0, 0, 0, 0]);
    new Float32Array(size.buffer).set([canvas.width, canvas.height], 4);
    device.queue.writeBuffer(this.shownSize, 0, size);
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginRenderPass({
      colorAttachments: [{ view: this.context.getCurrentTexture().createView(), loadOp: "clear", clearValue: [0, 0, 0, 1], storeOp: "store" }],
    });
    pass.setPipeline(this.show);
    pass.setBindGroup(0, target.show[which]);
    pass.draw(3);
    pass.end();
    device.queue.submit([encoder.finish()]);
  }

  // The face at a pixel of the last picture, -1 where there is none.
  async faceAt(x, y) {
    const target = this.now;
    const column = Math.floor(x * target.width), row = Math.floor(y * target.height);
    if (column < 0 || row < 0 || column >= target.width || row >= target.height) return -1;
    const { device } = this;
    const to = device.createBuffer({ size: 256, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    const encoder = device.createCommandEncoder();
    encoder.copyTextureToBuffer({ texture: target.face, origin: [column, row] }, { buffer: to, bytesPerRow: 256 }, [1, 1]);
    device.queue.submit([encoder.finish()]);
    await to.mapAsync(GPUMapMode.READ);
    const face = new Uint32Array(to.getMappedRange())[0] - 1;
    to.destroy();
    return face;
  }

  // The last picture's bytes, RGBA.
  async pixels(which) {
    const { width, height, stride } = this.now, { device } = this;
    const size = 4 * stride * height;
    const to = device.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(this.now[which], 0, to, 0, size);
    device.queue.submit([encoder.finish()]);
    await to.mapAsync(GPUMapMode.READ);
    const rows = new Uint8Array(to.getMappedRange()), data = new Uint8ClampedArray(4 * width * height);
    for (let y = 0; y < height; y++) data.set(rows.subarray(4 * y * stride, 4 * (y * stride + width)), 4 * y * width);
    for (let i = 3; i < data.length; i += 4) data[i] = 255;
    to.destroy();
    return { width, height, data };
  }
}

// How much pictures of places count at a position (xscale/model/background.py, shares).
function sharesOf(places, eye) {
  const away = places.map((p) => norm(sub(p, eye))), nearest = Math.min(...away);
  let spacing = nearest;
  if (places.length > 1) {
    const gaps = places.map((p, i) => Math.min(...places.filter((_, j) => j !== i).map((q) => norm(sub(p, q)))));
    spacing = gaps.sort((a, b) => a - b)[Math.floor((gaps.length - 1) / 2)];
  }
  const reach = 2 * Math.max(nearest, spacing / 2, 1e-12);
  const share = away.map((d) => Math.max(0, 1 - d / reach) ** 2);
  const sum = share.reduce((a, b) => a + b, 0);
  return share.map((s) => s / sum);
}

// Corners as mesh.wgsl reads them: sides that are not surface in the first corner's highest bits.
function cornersWithSides(mesh) {
  if (!mesh.sides) return mesh.faces;
  if (3 * mesh.sides.length !== mesh.faces.length) throw new Damaged("the sides have another length");
  const corners = mesh.faces.slice();
  mesh.sides.forEach((hidden, face) => { corners[3 * face] = (corners[3 * face] | (hidden << 30)) >>> 0; });
  return corners;
}

function skyRecord(sky) {
  const f = new Float32Array(16), u = new Uint32Array(f.buffer);
  f.set(sky.low, 0);
  f.set(sky.high, 4);
  f[8] = sky.grey;
  u.set([sky.learned ? 1 : 0, sky.box ? 1 : 0, sky.rows, sky.axis], 9);
  return f;
}
