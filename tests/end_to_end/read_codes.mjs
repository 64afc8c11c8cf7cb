// Prints everything in an HDF5 file as JSON. 64-bit integers become strings: a JSON number that
// large would be rounded. A float32 is printed as the float64 of the same value.
import { Dataset, File, ready } from "h5wasm/node";

await ready;
const file = new File(process.argv[2], "r");

function describe(item) {
  const attributes = Object.entries(item.attrs).map(([name, { value }]) => [name, plain(value)]);
  const description = { attributes: Object.fromEntries(attributes) };
  if (item instanceof Dataset) {
    Object.assign(description, { dtype: item.dtype, shape: item.shape, values: plain(item.value) });
  }
  return description;
}

function plain(value) {
  return ArrayBuffer.isView(value) ? [...value] : value;
}

const items = ["/", ...file.paths()].map((path) => [path, describe(file.get(path))]);
const exact = (_, value) => (typeof value === "bigint" ? value.toString() : value);
console.log(JSON.stringify(Object.fromEntries(items), exact));
file.close();
