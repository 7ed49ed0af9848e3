/** Khronos' validator of glTF -> what it calls errors, as a line of JSON: node gltf_validator.mjs FILE */

import validator from "gltf-validator";
import { input } from "./rows.mjs";

const ERROR = 0;
const { issues } = await validator.validateBytes(new Uint8Array(input()), { maxIssues: 0 });
const errors = issues.messages.filter((message) => message.severity === ERROR);
console.log(JSON.stringify(errors.map(({ code, pointer, message }) => `${code} ${pointer}: ${message}`)));
