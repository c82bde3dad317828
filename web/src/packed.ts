/** Compress or decompress bytes. */
export async function packed(bytes: Uint8Array, through: CompressionStream | DecompressionStream): Promise<Uint8Array> {
  const pair = through as ReadableWritablePair<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>;
  return new Uint8Array(await new Response(new Blob([bytes as BlobPart]).stream().pipeThrough(pair)).arrayBuffer());
}
