// How the text of a table is written: what stands between its columns, how it quotes, writes
// numbers and comments. Found by looking at the beginning of a file, unless the user says.
#ifndef LOCKSTEP_ENGINE_DATA_TABLE_DIALECT_H_
#define LOCKSTEP_ENGINE_DATA_TABLE_DIALECT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"

namespace lockstep {

// How numbers are written.
struct NumberForm {
  char decimal = '.';
  char thousands = '\0';  // '\0': none
  bool operator==(const NumberForm&) const = default;
};

struct Dialect {
  enum class Encoding { kUtf8, kLatin1 };  // Latin-1 as Windows has it (code page 1252)

  char delimiter = ',';  // ' ': runs of blanks, also tabs
  char quote = '"';
  char comment = '\0';  // lines that begin with it are left out; '\0': there are none
  NumberForm number{};
  Encoding encoding = Encoding::kUtf8;
  bool header = false;     // the first row holds the names of the columns
  bool row_names = false;  // R: the header has no name for the first column, which names the rows
  bool open_end = false;   // every row ends in a delimiter, behind which there is no column
  bool operator==(const Dialect&) const = default;
};

// What a user says of it; what is left out is found by looking.
struct DialectOptions {
  std::optional<char> delimiter{}, quote{}, comment{}, decimal{}, thousands{};
  std::optional<bool> header{};
  // Names that only a header can hold (of columns that are asked for by name): a first row with all
  // of them is a header.
  std::vector<std::string> names{};
  // Texts that stand for a missing value.
  std::vector<std::string> missing{};
};

struct FoundDialect {
  Dialect dialect;
  int64_t skipped_lines = 0;  // in front of the first row: "sep=;", comments, empty lines
  // What was guessed though something else was possible, for the user, a line each.
  std::vector<std::string> remarks{};
};

// `beginning` is UTF-8 or Latin-1 text, without a byte order mark, of the file called `name`;
// `whole` says whether it is all of the file. Errors name the file and what to say (the recipe's
// key): no row at all, a file of another kind (NPY, Parquet, XLSX, ZIP, ...) by its name, rows that
// fit no delimiter.
Result<FoundDialect> FindDialect(std::string_view beginning, bool whole, const std::string& name,
                                 const DialectOptions& options);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TABLE_DIALECT_H_
