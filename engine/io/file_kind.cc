#include "engine/io/file_kind.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>

namespace lockstep::inline v0_1 {
namespace {

using namespace std::string_view_literals;

struct Start {
  std::string_view bytes;
  KnownFile known;
  size_t offset = 0;
};
constexpr std::string_view kSpreadsheet = "\"save as CSV\" in the spreadsheet program";
constexpr std::string_view kPandas = "pandas: read_...(FILE).to_csv(..., index=False)";
constexpr std::string_view kInR = "write.csv(..., row.names = FALSE) in R";
constexpr std::string_view kItsProgram = "the program it comes from";

constexpr std::string_view kZip = "PK\x03\x04"sv, kEmptyZip = "PK\x05\x06"sv;
// Longer than the letters alone where those could begin a table: a column may be named PAR1.
constexpr Start kStarts[] = {
    {"\x93NUMPY"sv, {"a NumPy array (NPY)", "numpy.savetxt(..., delimiter=',')"}},
    {"PAR1\x15"sv, {"a Parquet table", kPandas}},
    {"ARROW1\0"sv, {"an Arrow table", kPandas}},
    {"FEA1\0"sv, {"a Feather table", kPandas}},
    {"Obj\x01"sv, {"an Avro file", kItsProgram}},
    {"\x89HDF\r\n\x1A\n"sv, {"an HDF5 file", kPandas}},
    {"CDF\x01"sv, {"a NetCDF file", kItsProgram}},
    {"CDF\x02"sv, {"a NetCDF file", kItsProgram}},
    {"SQLite format 3"sv,
     {"an SQLite database", "sqlite3 -header -csv FILE 'select * from TABLE'"}},
    {"\xD0\xCF\x11\xE0"sv,
     {"an older Excel workbook (XLS) or another Office document", kSpreadsheet}},
    {"$FL2"sv, {"an SPSS file (SAV)", kPandas}},
    {"$FL3"sv, {"an SPSS file (SAV)", kPandas}},
    {"<stata_dta>"sv, {"a Stata file (DTA)", kPandas}},
    {"HEADER RECORD*******LIBRARY"sv, {"a SAS transport file (XPT)", kPandas}},
    {"\xC2\xEA\x81\x60\xB3\x14\x11\xCF"sv, {"a SAS file", kPandas}, 12},
    {"MATLAB 5.0"sv, {"a MATLAB file", "writematrix(..., 'FILE.csv') in MATLAB"}},
    {"RDX2\n"sv, {"R data (RData)", kInR}},
    {"RDX3\n"sv, {"R data (RData)", kInR}},
    {"X\n\0\0\0\x02"sv, {"an R object (RDS)", kInR}},
    {"X\n\0\0\0\x03"sv, {"an R object (RDS)", kInR}},
    {"GGUF\x03"sv, {"a GGUF model", {}}},
    {"\x1F\x8B"sv, {"packed with gzip", "gunzip"}},
    {"1AY&SY"sv, {"packed with bzip2", "bunzip2"}, 4},
    {"\xFD"
     "7zXZ"sv,
     {"packed with xz", "unxz"}},
    {"\x28\xB5\x2F\xFD"sv, {"packed with zstd", "unzstd"}},
    {"\x04\x22\x4D\x18"sv, {"packed with LZ4", "unlz4"}},
    {"7z\xBC\xAF\x27\x1C"sv, {"a 7-Zip archive", "7z x"}},
    {"Rar!\x1A"sv, {"a RAR archive", "unrar"}},
    {"ustar\0"sv, {"a tar archive", "tar xf"}, 257},
    {"ustar "sv, {"a tar archive", "tar xf"}, 257},
    {"\x89PNG"sv, {"a PNG picture", "data.kind = \"images\" reads folders of them"}},
    {"\xFF\xD8\xFF"sv, {"a JPEG picture", "data.kind = \"images\" reads folders of them"}},
    {"GIF8"sv, {"a GIF picture", {}}},
    {"II*\0"sv, {"a TIFF picture", {}}},
    {"MM\0*"sv, {"a TIFF picture", {}}},
    {"WEBP"sv, {"a WebP picture", {}}, 8},
    {"%PDF"sv, {"a PDF document", kItsProgram}},
    {"{\\rtf"sv, {"an RTF document", kItsProgram}},
    {"<!DOCTYPE"sv, {"a web page", "was it fetched from the right address?"}},
    {"<!doctype"sv, {"a web page", "was it fetched from the right address?"}},
    {"<html"sv, {"a web page", "was it fetched from the right address?"}},
    {"<?xml"sv, {"an XML document", kItsProgram}},
    {"\x7F"
     "ELF"sv,
     {"a program", {}}},
    {"\xFF\xFE"sv, {"text in UTF-16", {}}},
    {"\xFE\xFF"sv, {"text in UTF-16", {}}},
};

bool HasAt(std::string_view text, size_t offset, std::string_view bytes) {
  return text.size() >= offset && text.substr(offset).starts_with(bytes);
}

// The name of the first file in a ZIP archive stands behind 30 bytes, the 27th and 28th of which
// are its length.
KnownFile ZipKind(std::string_view begin) {
  constexpr size_t kName = 30, kLength = 26;
  std::string_view name;
  if (begin.size() > kName) {
    const auto byte = [&](size_t i) { return static_cast<size_t>(static_cast<uint8_t>(begin[i])); };
    name = begin.substr(kName, byte(kLength) | byte(kLength + 1) << 8);
  }
  if (name.ends_with(".npy")) return {"a NumPy archive (NPZ)", "numpy.savetxt(..., delimiter=',')"};
  if (name.ends_with("data.pkl")) return {"a PyTorch file", {}};
  if (name.starts_with("xl/") || name.starts_with("_rels/") || name == "[Content_Types].xml")
    return {"an Excel workbook (XLSX) or another Office document", kSpreadsheet};
  if (name == "mimetype") return {"an OpenDocument file (ODS)", kSpreadsheet};
  return {"a ZIP archive", "unzip"};
}

// A stream of Python's pickle, protocol 2 to 5, as PyTorch's older files are.
bool IsPickle(std::string_view begin) {
  return begin.size() >= 2 && begin[0] == '\x80' && begin[1] >= 2 && begin[1] <= 5;
}

// Before release 13: the release, the byte order, the kind of file, and a zero.
bool IsOldStata(std::string_view begin) {
  return begin.size() > 4 && begin[0] >= 0x69 && begin[0] <= 0x73 &&
         (begin[1] == 1 || begin[1] == 2) && begin[2] == 1 && begin[3] == 0;
}

// Two zeros, a type of elements, a number of dimensions.
bool IsIdx(std::string_view begin) {
  constexpr auto kTypes = "\x08\x09\x0B\x0C\x0D\x0E"sv;
  return begin.starts_with("\0\0"sv) && begin.size() >= 4 &&
         kTypes.find(begin[2]) != std::string_view::npos && begin[3] >= 1 && begin[3] <= 5;
}

// A JSON object behind its length, of 8 bytes.
bool IsSafetensors(std::string_view begin) {
  return begin.size() > 9 && begin.substr(5).starts_with("\0\0\0{\""sv);
}

}  // namespace

KnownFile FileKindOf(std::string_view begin) {
  if (begin.starts_with(kZip)) return ZipKind(begin);
  if (begin.starts_with(kEmptyZip)) return {"a ZIP archive", "unzip"};
  for (const Start& start : kStarts) {
    if (HasAt(begin, start.offset, start.bytes)) return start.known;
  }
  if (IsPickle(begin)) return {"a Python pickle, as older PyTorch files are", kPandas};
  if (IsOldStata(begin)) return {"a Stata file (DTA)", kPandas};
  if (IsIdx(begin)) return {"an IDX file", "data.kind = \"mnist\" reads four of them"};
  if (IsSafetensors(begin)) return {"a safetensors file", {}};
  return {};
}

std::string_view FileKindAt(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return {};
  char begin[kFileKindBytes];
  const ssize_t got = read(fd, begin, sizeof begin);
  close(fd);
  return FileKind({begin, static_cast<size_t>(got > 0 ? got : 0)});
}

}  // namespace lockstep
