#include "engine/data/table/may_be_table.h"

#include "engine/io/file_kind.h"

namespace lockstep {
namespace {

// What makes a text of rows and columns of a kind whose name has the word in it.
constexpr struct {
  std::string_view word;
  const char* advice;
} kAdvice[] = {
    {"NumPy", "numpy.savetxt('table.csv', array, delimiter=',')"},
    {"Parquet", "pandas.read_parquet(...).to_csv('table.csv', index=False)"},
    {"Arrow", "pandas.read_feather(...).to_csv('table.csv', index=False)"},
    {"Feather", "pandas.read_feather(...).to_csv('table.csv', index=False)"},
    {"HDF5", "pandas.read_hdf(...).to_csv('table.csv', index=False)"},
    {"pickle", "pandas.read_pickle(...).to_csv('table.csv', index=False)"},
    {"Stata", "pandas.read_stata(...).to_csv('table.csv', index=False)"},
    {"SPSS", "pandas.read_spss(...).to_csv('table.csv', index=False)"},
    {"SAS", "pandas.read_sas(...).to_csv('table.csv', index=False)"},
    {"JSON", "pandas.read_json(...).to_csv('table.csv', index=False)"},
    {"Excel", "\"save as CSV\" in the spreadsheet program"},
    {"OpenDocument", "\"save as CSV\" in the spreadsheet program"},
    {"SQLite", "sqlite3 -header -csv FILE 'select * from TABLE'"},
    {"R data", "write.csv(table, 'table.csv', row.names = FALSE) in R"},
    {"R object", "write.csv(table, 'table.csv', row.names = FALSE) in R"},
    {"MATLAB", "writematrix(table, 'table.csv') in MATLAB"},
    {"packed with", "unpack it"},
    {"archive", "unpack it"},
    {"picture", "or say what it is: data.kind = \"images\""},
    {"web page", "was it fetched from the right address?"},
};

Status IsNone(const std::string& name, std::string_view kind) {
  std::string text = name + ": is " + std::string(kind) +
                     ", not a text of rows and columns; make a CSV file of it";
  for (const auto& [word, advice] : kAdvice) {
    if (kind.find(word) == std::string_view::npos) continue;
    text += ": " + std::string(advice);
    break;
  }
  return Status::Invalid(std::move(text));
}

}  // namespace

Status MayBeTable(std::string_view beginning, const std::string& name) {
  const std::string_view kind = FileKind(beginning);
  if (!kind.empty() && !kind.starts_with("text")) return IsNone(name, kind);
  constexpr std::string_view kBlanks = " \t\r\n";
  const size_t first = beginning.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return Status::Ok();
  const std::string_view text = beginning.substr(first);
  if (text.starts_with("<?xml")) return IsNone(name, "an XML document");
  const size_t behind = text.find_first_not_of(kBlanks, 1);
  const char second = behind == std::string_view::npos ? '\0' : text[behind];
  if ((text[0] == '{' && (second == '"' || second == '}')) ||
      (text[0] == '[' && (second == '{' || second == '[')))
    return IsNone(name, "a JSON document");
  return Status::Ok();
}

}  // namespace lockstep
