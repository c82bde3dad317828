/** The provenance tag of a picture's file, with the same keys as `maskhub.provenance`. */

export interface Tag {
  software: string;
  model: string;
  direction: "mask" | "unmask" | "translate";
  note: string;
}

const INVENTED = "synthetic: an invented face, not evidence";
const NOTES = { mask: "synthetic: a mask that software put on, not evidence", unmask: INVENTED, translate: INVENTED };
const SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia";
const SPACES = {
  dc: "http://purl.org/dc/elements/1.1/",
  xmp: "http://ns.adobe.com/xap/1.0/",
  Iptc4xmpExt: "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
  maskhub: "urn:maskhub:provenance#",
};

export function tagOf(version: string, model: string, direction: Tag["direction"]): Tag {
  return { software: `maskhub ${version}`, model, direction, note: NOTES[direction] };
}

/** One human-readable sentence. */
export function asText(tag: Tag): string {
  return `${tag.note} (made by ${tag.software}, model ${tag.model}, direction ${tag.direction})`;
}

/** An XMP packet. */
export function xmp(tag: Tag): string {
  const spaces = Object.entries(SPACES).map(([name, uri]) => `xmlns:${name}="${uri}"`).join(" ");
  const own = (["software", "model", "direction", "note"] as const).map((name) => `maskhub:${name}="${escaped(tag[name])}"`).join(" ");
  return '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    + '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    + `<rdf:Description rdf:about="" ${spaces} xmp:CreatorTool="${escaped(tag.software)}" `
    + `Iptc4xmpExt:DigitalSourceType="${SOURCE}" ${own}>`
    + `<dc:description><rdf:Alt><rdf:li xml:lang="x-default">${escaped(asText(tag))}</rdf:li></rdf:Alt></dc:description>`
    + '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>';
}

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c] as string);
}
