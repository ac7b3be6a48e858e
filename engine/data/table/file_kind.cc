#include "engine/data/table/file_kind.h"

#include <cstddef>

namespace lockstep {
namespace {

struct Kind {
  size_t offset;
  std::string_view magic;
  const char* name;
  const char* advice;
};

using namespace std::string_view_literals;  // NOLINT: magic bytes may be 0

constexpr Kind kKinds[] = {
    {0, "\x93NUMPY"sv, "a NumPy array (NPY)", "numpy.savetxt(..., delimiter=',')"},
    {0, "PAR1"sv, "a Parquet file", "pandas.read_parquet(...).to_csv(..., index=False)"},
    {0, "ARROW1"sv, "an Arrow (Feather) file", "pandas.read_feather(...).to_csv(..., index=False)"},
    {0, "FEA1"sv, "a Feather file", "pandas.read_feather(...).to_csv(..., index=False)"},
    {0, "ORC"sv, "an ORC file", "pandas.read_orc(...).to_csv(..., index=False)"},
    {0, "Obj\x01"sv, "an Avro file", "the program it comes from"},
    {0, "\x89HDF\r\n\x1A\n"sv, "an HDF5 file", "pandas.read_hdf(...).to_csv(..., index=False)"},
    {0, "SQLite format 3\0"sv, "an SQLite database",
     "sqlite3 -header -csv FILE 'select * from TABLE'"},
    {0, "%PDF-"sv, "a PDF document", "the program it comes from"},
    {0, "\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1"sv, "an old Excel workbook (XLS)",
     "\"save as CSV\" in the spreadsheet program"},
    {0, "BZh"sv, "a bzip2 archive", "bunzip2"},
    {0,
     "\xFD"
     "7zXZ\0"sv,
     "an xz archive", "unxz"},
    {0, "\x28\xB5\x2F\xFD"sv, "a Zstandard archive", "unzstd"},
    {0, "\x04\x22\x4D\x18"sv, "an LZ4 archive", "unlz4"},
    {0, "7z\xBC\xAF\x27\x1C"sv, "a 7-Zip archive", "7z x"},
    {0, "Rar!\x1A\x07"sv, "a RAR archive", "unrar"},
    {257, "ustar"sv, "a TAR archive", "tar xf"},
    {0, "RDX2\n"sv, "an R data file (RData)", "write.csv(..., row.names = FALSE) in R"},
    {0, "RDX3\n"sv, "an R data file (RData)", "write.csv(..., row.names = FALSE) in R"},
    {0, "X\n\0\0\0\x02"sv, "an R object (RDS)", "write.csv(..., row.names = FALSE) in R"},
    {0, "X\n\0\0\0\x03"sv, "an R object (RDS)", "write.csv(..., row.names = FALSE) in R"},
    {0, "<stata_dta>"sv, "a Stata file", "pandas.read_stata(...).to_csv(..., index=False)"},
    {0, "$FL2"sv, "an SPSS file", "pandas.read_spss(...).to_csv(..., index=False)"},
    {0, "$FL3"sv, "an SPSS file", "pandas.read_spss(...).to_csv(..., index=False)"},
    {0, "MATLAB 5.0"sv, "a MATLAB file", "writematrix(..., 'FILE.csv') in MATLAB"},
    {0, "HEADER RECORD*******LIBRARY"sv, "a SAS transport file (XPT)",
     "pandas.read_sas(...).to_csv(..., index=False)"},
    {12, "\xC2\xEA\x81\x60\xB3\x14\x11\xCF"sv, "a SAS file",
     "pandas.read_sas(...).to_csv(..., index=False)"},
    {0, "{\\rtf"sv, "an RTF document", "the program it comes from"},
    {0, "\x89PNG"sv, "a PNG picture", "data.kind = \"images\""},
    {0, "\xFF\xD8\xFF"sv, "a JPEG picture", "data.kind = \"images\""},
    {0, "\x80\x02"sv, "a Python pickle", "pandas.read_pickle(...).to_csv(..., index=False)"},
    {0, "\x80\x03"sv, "a Python pickle", "pandas.read_pickle(...).to_csv(..., index=False)"},
    {0, "\x80\x04\x95"sv, "a Python pickle", "pandas.read_pickle(...).to_csv(..., index=False)"},
    {0, "\x80\x05\x95"sv, "a Python pickle", "pandas.read_pickle(...).to_csv(..., index=False)"},
};

Status Other(const std::string& name, const std::string& kind, const std::string& advice) {
  return Status::Invalid(name + ": is " + kind +
                         ", not a text of rows and columns; make a CSV "
                         "file of it (" +
                         advice + ")");
}

// A ZIP archive is what many programs write; the names of its first files tell which.
Status Zip(std::string_view beginning, const std::string& name) {
  const std::string_view front = beginning.substr(0, 4096);
  const auto has = [&](std::string_view text) {
    return front.find(text) != std::string_view::npos;
  };
  constexpr const char* kSaveAs = "\"save as CSV\" in the spreadsheet program";
  if (has("mimetypeapplication/vnd.oasis.opendocument.spreadsheet"))
    return Other(name, "an OpenDocument spreadsheet (ODS)", kSaveAs);
  if (has("xl/") || has("[Content_Types].xml"))
    return Other(name, "an Excel workbook (XLSX)", kSaveAs);
  if (has(".npy")) return Other(name, "a NumPy archive (NPZ)", "numpy.savetxt");
  return Other(name, "a ZIP archive", "unzip");
}

bool StartsAs(std::string_view text, std::string_view lower) {
  if (text.size() < lower.size()) return false;
  for (size_t i = 0; i < lower.size(); ++i) {
    const char c = text[i];
    if ((c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c) != lower[i]) return false;
  }
  return true;
}

}  // namespace

Status MayBeTable(std::string_view beginning, const std::string& name) {
  for (const Kind& kind : kKinds) {
    if (beginning.size() >= kind.offset && beginning.substr(kind.offset).starts_with(kind.magic))
      return Other(name, kind.name, kind.advice);
  }
  if (beginning.starts_with("PK\x03\x04") || beginning.starts_with("PK\x05\x06"))
    return Zip(beginning, name);
  // Stata before 13: the release, the byte order, the kind of file, and a zero.
  if (beginning.size() > 4 && beginning[0] >= 0x69 && beginning[0] <= 0x73 &&
      (beginning[1] == 1 || beginning[1] == 2) && beginning[2] == 1 && beginning[3] == 0)
    return Other(name, "a Stata file", "pandas.read_stata(...).to_csv(..., index=False)");
  const size_t first = beginning.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return Status::Ok();
  const std::string_view text = beginning.substr(first);
  if (StartsAs(text, "<!doctype html") || StartsAs(text, "<html"))
    return Other(name, "an HTML page", "was it fetched from the right address?");
  if (StartsAs(text, "<?xml")) return Other(name, "an XML document", "the program it comes from");
  const size_t behind = text.find_first_not_of(" \t\r\n", 1);
  const char second = behind == std::string_view::npos ? '\0' : text[behind];
  if ((text[0] == '{' && (second == '"' || second == '}')) ||
      (text[0] == '[' && (second == '{' || second == '[')))
    return Other(name, "a JSON document", "pandas.read_json(...).to_csv(..., index=False)");
  return Status::Ok();
}

}  // namespace lockstep
