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

namespace lockstep::inline v0_1 {

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
  std::optional<Dialect::Encoding> encoding{};
  // A first row that may be names or data is data; with numbers in it, it always may.
  bool doubt_is_data = false;
  // Names that only a header can hold (of columns that are asked for by name): a first row with all
  // of them is a header.
  std::vector<std::string> names{};
  // Texts that stand for a missing value.
  std::vector<std::string> missing{};
};

struct FoundDialect {
  Dialect dialect;
  int64_t columns = 0;
  // Of each column, in UTF-8; empty: there is no header. A column of row names is called "". Made
  // distinct as pandas does: "age", "age.1"; several may be "". Line ends and other control
  // characters within are blanks.
  std::vector<std::string> names{};
  // Where the rows behind the header begin, in bytes of `beginning`, and their first line, from 1.
  size_t rows_begin = 0;
  int64_t rows_line = 1;
  // What was guessed though something else was possible, for the user, a line each.
  std::vector<std::string> remarks{};
};

// The remark on a text in Latin-1.
inline constexpr const char* kReadAsLatin1 =
    "the text is not UTF-8 and was read as Latin-1 (Windows-1252); data.encoding = \"utf-8\" "
    "refuses "
    "it";

// `beginning` is UTF-8 or Latin-1 text, without a byte order mark, of the file called `name`;
// `whole` says whether it is all of the file. Errors name the file and what to say (the recipe's
// key): no row at all, a header that the rows do not fit, settings that contradict each other.
Result<FoundDialect> FindDialect(std::string_view beginning, bool whole, const std::string& name,
                                 const DialectOptions& options);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TABLE_DIALECT_H_
