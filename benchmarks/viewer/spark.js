/** three.js with Spark, as its own introduction sets it up, driven by the benchmark. */

import * as THREE from "three";
import { SparkRenderer, SplatMesh } from "@sparkjsdev/spark";
import { asked, offer } from "./harness.js";

const NEAR = 0.2; // world units, as sfumato's
const FAR = 1000;

const renderer = new THREE.WebGLRenderer({ antialias: false });
renderer.setPixelRatio(1);
renderer.setSize(asked.camera.width, asked.camera.height);
document.body.appendChild(renderer.domElement);
const scene = new THREE.Scene();
const spark = new SparkRenderer({ renderer, ...asked.settings });
const mesh = new SplatMesh({ url: asked.splat });
scene.add(spark, mesh);
const eye = new THREE.PerspectiveCamera();

/** OpenCV's x right, y down, z forward become OpenGL's x right, y up, z backward. */
function place(camera) {
  const { viewmat, width, height } = camera;
  const [fx, fy, cx, cy] = camera.K;
  const flip = new THREE.Matrix4().makeScale(1, -1, -1);
  const world = flip.multiply(new THREE.Matrix4().set(...viewmat)).invert();
  world.decompose(eye.position, eye.quaternion, eye.scale);
  eye.near = NEAR;
  eye.far = FAR;
  eye.aspect = width / height;
  eye.fov = (360 / Math.PI) * Math.atan(height / 2 / fy); // Spark reads it; what is drawn follows the matrix below
  const [left, right] = [(-cx / fx) * NEAR, ((width - cx) / fx) * NEAR];
  const [top, bottom] = [(cy / fy) * NEAR, ((cy - height) / fy) * NEAR];
  eye.projectionMatrix.makePerspective(left, right, top, bottom, NEAR, FAR);
  eye.projectionMatrixInverse.copy(eye.projectionMatrix).invert();
}

function draw(camera) {
  place(camera);
  renderer.render(scene, eye);
}

/** Draws again only when Spark asks for it: more would queue in front of the depths that it reads back to sort by. */
async function settle(camera) {
  draw(camera);
  while (spark.sorting || spark.sortDirty || spark.dirty || spark.activeSplats === 0) {
    await new Promise((resolve) => setTimeout(resolve, 2));
    if (spark.dirty && !spark.sorting) draw(camera);
  }
}

/** Milliseconds of Spark's calls of its sort worker, and of reading depths back from the GPU before each. */
const sorts = { worker: [], readBack: [] };
const readDepths = spark.readbackDepth.bind(spark);
spark.readbackDepth = async (options) => {
  const start = performance.now();
  await readDepths(options);
  sorts.readBack.push(performance.now() - start);
  if (spark.sortWorker && !spark.sortWorker.timed) {
    const call = spark.sortWorker.call.bind(spark.sortWorker);
    spark.sortWorker.timed = true;
    spark.sortWorker.call = async (...parameters) => {
      const begun = performance.now();
      const result = await call(...parameters);
      sorts.worker.push(performance.now() - begun);
      return result;
    };
  }
};

let loaded = false;
renderer.setAnimationLoop(() => {
  draw(asked.camera);
});
const whole = mesh.initialized.then(() => {
  renderer.setAnimationLoop(null);
  loaded = true;
});
offer(
  {
    canvas: renderer.domElement,
    draw,
    settle,
    statistics: () => ({ gaussians: mesh.splats?.getNumSplats(), drawn: spark.activeSplats, sorts, loaded }),
  },
  whole,
);
