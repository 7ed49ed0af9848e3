/** Runs before a viewer's own scripts, the same for every viewer: counts GPU bytes and notes the first picture. */

"use strict";

(() => {
  /** Bytes of a texel by sized internal format; what is not here counts as 4. */
  const TEXEL = {
    R8: 1, R8I: 1, R8UI: 1, RG8: 2, RG8UI: 2, RGB8: 3, RGBA8: 4, SRGB8_ALPHA8: 4, RGBA8UI: 4, R16F: 2, R16UI: 2, RG16F: 4,
    RG16UI: 4, RGBA16F: 8, RGBA16UI: 8, RGBA16I: 8, R32F: 4, R32UI: 4, R32I: 4, RG32F: 8, RG32UI: 8, RGB32F: 12,
    RGB32UI: 12, RGBA32F: 16, RGBA32UI: 16, RGBA32I: 16, DEPTH_COMPONENT16: 2, DEPTH_COMPONENT24: 4,
    DEPTH_COMPONENT32F: 4, DEPTH24_STENCIL8: 4, R11F_G11F_B10F: 4, RGB10_A2: 4, RGB10_A2UI: 4,
  };
  const SHARE = 0.01; // of the pixels that must not be background before it is a picture
  const FAINT = 6; // of 255: this much is still background
  const gl2 = WebGL2RenderingContext.prototype;
  const texelBytes = new Map(Object.entries(TEXEL).map(([name, bytes]) => [/** @type {any} */ (gl2)[name], bytes]));
  const sizes = new Map(); // GPU object -> Map(level or face -> bytes)
  let peak = 0;
  const watch = {
    /** @type {number | null} */ first: null,
    /** @type {number | null} */ complete: null,
    bytes: 0,
    get peak() {
      return peak;
    },
    /** Pixels of the canvas, bottom row first; returns once the GPU has drawn them. */
    read(gl, width, height) {
      const [target, pack] = [gl.getParameter(gl.READ_FRAMEBUFFER_BINDING), gl.getParameter(gl.PIXEL_PACK_BUFFER_BINDING)];
      const pixels = new Uint8Array(4 * width * height);
      gl.bindFramebuffer(gl.READ_FRAMEBUFFER, null);
      gl.bindBuffer(gl.PIXEL_PACK_BUFFER, null);
      gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
      gl.bindFramebuffer(gl.READ_FRAMEBUFFER, target);
      gl.bindBuffer(gl.PIXEL_PACK_BUFFER, pack);
      return pixels;
    },
  };
  Object.defineProperty(window, "watch", { value: watch });

  function hold(object, slot, bytes) {
    if (!object) return;
    const slots = sizes.get(object) ?? new Map();
    watch.bytes += bytes - (slots.get(slot) ?? 0);
    peak = Math.max(peak, watch.bytes);
    sizes.set(object, slots.set(slot, bytes));
  }

  function release(object) {
    for (const bytes of sizes.get(object)?.values() ?? []) watch.bytes -= bytes;
    sizes.delete(object);
  }

  /** `after` runs once the call named `name` has been made. */
  function follow(name, after) {
    const original = gl2[name];
    gl2[name] = function (...parameters) {
      const result = original.apply(this, parameters);
      after(this, parameters);
      return result;
    };
  }

  const bindings = {
    TEXTURE_2D: "TEXTURE_BINDING_2D", TEXTURE_2D_ARRAY: "TEXTURE_BINDING_2D_ARRAY", TEXTURE_3D: "TEXTURE_BINDING_3D",
    TEXTURE_CUBE_MAP: "TEXTURE_BINDING_CUBE_MAP", ARRAY_BUFFER: "ARRAY_BUFFER_BINDING",
    ELEMENT_ARRAY_BUFFER: "ELEMENT_ARRAY_BUFFER_BINDING", UNIFORM_BUFFER: "UNIFORM_BUFFER_BINDING",
    PIXEL_PACK_BUFFER: "PIXEL_PACK_BUFFER_BINDING", PIXEL_UNPACK_BUFFER: "PIXEL_UNPACK_BUFFER_BINDING",
    COPY_READ_BUFFER: "COPY_READ_BUFFER_BINDING", COPY_WRITE_BUFFER: "COPY_WRITE_BUFFER_BINDING",
    TRANSFORM_FEEDBACK_BUFFER: "TRANSFORM_FEEDBACK_BUFFER_BINDING", RENDERBUFFER: "RENDERBUFFER_BINDING",
  };
  const queries = new Map(Object.entries(bindings).map(([target, query]) => [gl2[target], gl2[query]]));
  /** The object bound to `target`; the faces of a cube belong to its texture. */
  function bound(gl, target) {
    const face = target >= gl.TEXTURE_CUBE_MAP_POSITIVE_X && target <= gl.TEXTURE_CUBE_MAP_NEGATIVE_Z;
    const query = queries.get(face ? gl.TEXTURE_CUBE_MAP : target);
    return query === undefined ? null : gl.getParameter(query);
  }

  const bytesOf = (format) => texelBytes.get(format) ?? 4;
  follow("texImage2D", (gl, p) => {
    const source = p[5]; // the short form takes its size from an image
    const [width, height] = p.length > 6 ? [p[3], p[4]] : [source?.width ?? 0, source?.height ?? 0];
    hold(bound(gl, p[0]), `${p[0]}:${p[1]}`, width * height * bytesOf(p[2]));
  });
  follow("texImage3D", (gl, p) => hold(bound(gl, p[0]), `${p[0]}:${p[1]}`, p[3] * p[4] * p[5] * bytesOf(p[2])));
  follow("texStorage2D", (gl, p) => {
    const levels = (1 - 0.25 ** p[1]) / 0.75; // mip levels add up to a third
    hold(bound(gl, p[0]), "storage", p[3] * p[4] * bytesOf(p[2]) * levels);
  });
  follow("texStorage3D", (gl, p) => hold(bound(gl, p[0]), "storage", p[3] * p[4] * p[5] * bytesOf(p[2])));
  follow("bufferData", (gl, p) => {
    const bytes = typeof p[1] === "number" ? p[1] : p[4] ? p[4] * p[1].BYTES_PER_ELEMENT : (p[1]?.byteLength ?? 0);
    hold(bound(gl, p[0]), "data", bytes);
  });
  follow("renderbufferStorage", (gl, p) => hold(bound(gl, p[0]), "data", p[2] * p[3] * bytesOf(p[1])));
  follow("renderbufferStorageMultisample", (gl, p) => {
    hold(bound(gl, p[0]), "data", Math.max(1, p[1]) * p[3] * p[4] * bytesOf(p[2]));
  });
  for (const name of ["deleteTexture", "deleteBuffer", "deleteRenderbuffer"]) follow(name, (_, p) => release(p[0]));

  /** Whether the canvas's drawing buffer holds more than background. Waits until the GPU has drawn it. */
  function somethingDrawn(gl) {
    const { drawingBufferWidth: width, drawingBufferHeight: height } = gl;
    const pixels = watch.read(gl, width, height);
    let seen = 0;
    for (let i = 0; i < pixels.length; i += 4) {
      if (Math.max(pixels[i], pixels[i + 1], pixels[i + 2]) > FAINT) seen += 1;
    }
    return seen >= SHARE * width * height;
  }

  let asked = false;
  /** Looks once the script that is drawing has ended, before the canvas is shown. */
  function look(gl) {
    if (watch.first !== null || asked || !(gl.canvas instanceof HTMLCanvasElement)) return;
    asked = true;
    queueMicrotask(() => {
      asked = false;
      if (watch.first === null && somethingDrawn(gl)) watch.first = performance.now();
    });
  }
  const draws = ["drawArrays", "drawElements", "drawArraysInstanced", "drawElementsInstanced", "blitFramebuffer"];
  for (const name of draws) follow(name, look);

  /** The finished page tells by a promise. */
  const waiting = setInterval(() => {
    const page = /** @type {any} */ (window).sfumato;
    if (!page?.ready) return;
    clearInterval(waiting);
    page.ready.then(() => {
      watch.complete = performance.now();
    });
  }, 5);
})();
