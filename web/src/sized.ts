/** Writes the sizes of a picture into a TFLite file, for networks that take any: LiteRT.js does not change them itself. */

/** The fields of FlatBuffers tables of TFLite's schema that are read here. */
const SUBGRAPHS = 2, BUFFERS = 4, TENSORS = 0, SHAPE = 0, TYPE = 1, BUFFER = 2, DATA = 0;
const INT32 = 2;

/**
 * A copy of a file for pictures of another size: sizes of N×H×W×C tensors, and those that resizing takes, grow in
 * proportion. Borders, which are what a tensor has more than `side`, stay.
 *
 * @param side height and width that the file was made for
 */
export function sized(file: Uint8Array, side: number, height: number, width: number): Uint8Array {
  const bytes = file.slice(), view = new DataView(bytes.buffer);
  const at = (place: number): number => place + view.getUint32(place, true);
  /** The place of a table's field; 0 if it is left out. */
  const field = (table: number, number: number): number => {
    const fields = table - view.getInt32(table, true), offset = 4 + 2 * number;
    return offset < view.getUint16(fields, true) && view.getUint16(fields + offset, true) ? table + view.getUint16(fields + offset, true) : 0;
  };
  /** The places of a vector's elements, of four bytes each. */
  const elements = (vector: number): number[] => Array.from({ length: view.getUint32(vector, true) }, (_, i) => vector + 4 + 4 * i);
  const grow = (place: number, to: number): void => {
    const size = view.getInt32(place, true), border = Math.max(size - side, 0);
    view.setInt32(place, ((size - border) * to) / side + border, true);
  };

  const model = at(0), buffers = elements(at(field(model, BUFFERS))).map(at);
  const [graph] = elements(at(field(model, SUBGRAPHS))).map(at);
  const resized = new Set<number>();
  for (const tensor of elements(at(field(graph, TENSORS))).map(at)) {
    const shape = elements(at(field(tensor, SHAPE))), buffer = field(tensor, BUFFER) && view.getUint32(field(tensor, BUFFER), true);
    const data = field(buffers[buffer], DATA);
    if (!data && shape.length === 4) {
      grow(shape[1], height);
      grow(shape[2], width);
    } else if (data && shape.length === 1 && view.getInt32(shape[0], true) === 2 && field(tensor, TYPE) && view.getInt8(field(tensor, TYPE)) === INT32) {
      if (resized.has(buffer)) continue;
      resized.add(buffer);
      const [high, wide] = [at(data) + 4, at(data) + 8];
      grow(high, height);
      grow(wide, width);
    }
  }
  return bytes;
}
