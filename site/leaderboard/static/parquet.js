// A table as an Apache Parquet file, small enough to read: one row group, and of every column one data
// page, uncompressed, PLAIN, OPTIONAL. The names are those of parquet.thrift and Encodings.md of
// apache/parquet-format; page headers and footer are in the compact protocol of
// doc/specs/thrift-compact-protocol.md of apache/thrift. tests/leaderboard reads the files with pyarrow.
"use strict";

const MAGIC = new TextEncoder().encode("PAR1");
const CREATED_BY = "leanboard";
const FORMAT_VERSION = 1;
// enum Type: what a value is on disk.
const PHYSICAL = { whole: 2 /* INT64 */, real: 5 /* DOUBLE */, text: 6 /* BYTE_ARRAY */ };
const UTF8 = 0; // enum ConvertedType
const OPTIONAL = 1; // enum FieldRepetitionType
const UNCOMPRESSED = 0; // enum CompressionCodec
const DATA_PAGE = 0; // enum PageType
const [PLAIN, RLE] = [0, 3]; // enum Encoding
const THRIFT = { i32: 5, i64: 6, binary: 8, list: 9, struct: 12 };

// Several pieces of bytes as one.
function joined(pieces) {
  const all = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let place = 0;
  for (const piece of pieces) {
    all.set(piece, place);
    place += piece.length;
  }
  return all;
}

// A length as four bytes, the lowest first.
function fourBytes(number) {
  return [0, 8, 16, 24].map((shift) => (number >>> shift) & 0xff);
}

// ULEB128: seven bits a byte, the lowest first. By division, as sizes may be above 2 ** 31.
function varint(number) {
  const bytes = [];
  let rest = number;
  while (rest >= 128) {
    bytes.push((rest % 128) + 128);
    rest = Math.floor(rest / 128);
  }
  return [...bytes, rest];
}

// Thrift: a value is its type and its bytes. Zigzag makes 2 n of a whole number n that is not negative,
// and none here is.
function i32(number) {
  return { type: THRIFT.i32, bytes: varint(2 * number) };
}

function i64(number) {
  return { type: THRIFT.i64, bytes: varint(2 * number) };
}

function binary(text) {
  const bytes = [...new TextEncoder().encode(text)];
  return { type: THRIFT.binary, bytes: varint(bytes.length).concat(bytes) };
}

function list(items) {
  const type = items.length ? items[0].type : THRIFT.struct;
  const head = items.length < 15 ? [items.length * 16 + type] : [0xf0 + type, ...varint(items.length)];
  return { type: THRIFT.list, bytes: head.concat(...items.map((item) => item.bytes)) };
}

// Fields are [id, value] by ascending id; a field begins with the step from the id before it.
function struct(...fields) {
  const steps = fields.map(([id, { type, bytes }], i) => {
    const step = id - (i ? fields[i - 1][0] : 0);
    return [step * 16 + type].concat(bytes);
  });
  return { type: THRIFT.struct, bytes: [].concat(...steps, [0]) };
}

// Whether each value is there (1) or null (0), as runs of the RLE / bit-packing hybrid.
function definitionLevels(values) {
  const runs = [];
  let start = 0;
  for (let end = 1; end <= values.length; end += 1) {
    if (end < values.length && (values[end] === null) === (values[start] === null)) continue;
    runs.push(...varint(2 * (end - start)), values[start] === null ? 0 : 1);
    start = end;
  }
  return joined([fourBytes(runs.length), runs]);
}

// The values that are there, one after the other.
function plainValues(type, values) {
  const known = values.filter((value) => value !== null);
  if (type === "text") {
    const texts = known.map((text) => new TextEncoder().encode(text));
    return joined(texts.flatMap((bytes) => [fourBytes(bytes.length), bytes]));
  }
  const view = new DataView(new ArrayBuffer(8 * known.length));
  known.forEach((value, i) => {
    if (type === "real") view.setFloat64(8 * i, value, true);
    else view.setBigInt64(8 * i, BigInt(value), true);
  });
  return new Uint8Array(view.buffer);
}

// SchemaElement of a column.
function schemaOf({ name, type }) {
  const fields = [[1, i32(PHYSICAL[type])], [3, i32(OPTIONAL)], [4, binary(name)]];
  // ConvertedType for old readers, and for new ones the LogicalType, a union whose field 1 is STRING.
  if (type === "text") fields.push([6, i32(UTF8)], [10, struct([1, struct()])]);
  return struct(...fields);
}

// The page of a column with its PageHeader, and the ColumnChunk that says where it lies.
function chunkOf({ name, type, values }, place) {
  const page = joined([definitionLevels(values), plainValues(type, values)]);
  const dataPage = struct([1, i32(values.length)], [2, i32(PLAIN)], [3, i32(RLE)], [4, i32(RLE)]);
  const header = struct([1, i32(DATA_PAGE)], [2, i32(page.length)], [3, i32(page.length)], [5, dataPage]);
  const bytes = joined([header.bytes, page]);
  const metadata = struct(
    [1, i32(PHYSICAL[type])], [2, list([i32(PLAIN), i32(RLE)])], [3, list([binary(name)])],
    [4, i32(UNCOMPRESSED)], [5, i64(values.length)], [6, i64(bytes.length)], [7, i64(bytes.length)],
    [9, i64(place)],
  );
  return { bytes, entry: struct([2, i64(place)], [3, metadata]) };
}

// KeyValue: what is no text is written as JSON.
function keyValue([key, value]) {
  return struct([1, binary(key)], [2, binary(typeof value === "string" ? value : JSON.stringify(value))]);
}

// FileMetaData: a table without rows has no row group.
function footerOf(columns, entries, { rows, size, about }) {
  const root = struct([4, binary("schema")], [5, i32(columns.length)]);
  const group = struct([1, list(entries)], [2, i64(size)], [3, i64(rows)]);
  return struct(
    [1, i32(FORMAT_VERSION)], [2, list([root, ...columns.map(schemaOf)])], [3, i64(rows)],
    [4, list(rows ? [group] : [])], [5, list(Object.entries(about).map(keyValue))], [6, binary(CREATED_BY)],
  );
}

// The bytes of a file. `columns` are { name, type: "text" | "real" | "whole", values }, all of one
// length; a value that is null is missing. `about` says by name what the whole file is.
function parquetFile(columns, about = {}) {
  const rows = columns[0].values.length;
  const pages = [];
  const entries = [];
  let place = MAGIC.length;
  for (const column of rows ? columns : []) {
    const { bytes, entry } = chunkOf(column, place);
    pages.push(bytes);
    entries.push(entry);
    place += bytes.length;
  }
  const footer = footerOf(columns, entries, { rows, size: place - MAGIC.length, about }).bytes;
  return joined([MAGIC, ...pages, footer, fourBytes(footer.length), MAGIC]);
}
