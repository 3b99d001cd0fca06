// Reads objects as JSON from standard input and holds each to the schema of its kind: the values by the kind's own validator, the
// names of the fields by its TypeScript type, since the validators let unknown ones pass. Prints one line a fault.
import fs from "node:fs"
import ts from "typescript"

const packages = {
  "argoproj.io": "argo-cd",
  "cert-manager.io": "cert-manager",
  "external-secrets.io": "external-secrets",
  "keda.sh": "keda",
  "monitoring.coreos.com": "prometheus-operator",
}
const place = (object) => {
  const [group, version] = object.apiVersion.split("/")
  return `@kubernetes-models/${packages[group]}/${group}/${version}/${object.kind}`
}
const told = (object) => `${object.kind}/${object.metadata.name}`

const objects = JSON.parse(fs.readFileSync(0, "utf8"))
const faults = []
for (const object of objects) {
  const model = (await import(place(object)))[object.kind]
  try {
    new model(object).validate()
  } catch (error) {
    faults.push(`${told(object)}: ${error.message}`)
  }
}

const lines = objects.flatMap((object, n) => [
  `import type { I${object.kind} as T${n} } from "${place(object)}"; const o${n}: T${n} = ${JSON.stringify(object)}`,
])
fs.writeFileSync("objects.ts", lines.join("\n"))
const program = ts.createProgram(["objects.ts"], {
  noEmit: true,
  strict: true,
  skipLibCheck: true,
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  types: [],
})
for (const fault of ts.getPreEmitDiagnostics(program)) {
  const line = fault.file ? fault.file.getLineAndCharacterOfPosition(fault.start).line : -1
  faults.push(`${objects[line] ? told(objects[line]) : "?"}: ${ts.flattenDiagnosticMessageText(fault.messageText, " ")}`)
}
for (const fault of faults) console.log(fault)
