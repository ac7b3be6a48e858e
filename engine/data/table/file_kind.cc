#include "engine/data/table/file_kind.h"

#include <cstddef>

#include "engine/io/file_kind.h"

namespace lockstep::inline v0_1 {
namespace {

Status Other(const std::string& name, std::string_view kind, std::string_view advice) {
  std::string text = name + ": is " + std::string(kind) + ", not a text of rows and columns";
  if (!advice.empty()) text += "; make a CSV file of it (" + std::string(advice) + ")";
  return Status::Invalid(text);
}

}  // namespace

Status MayBeTable(std::string_view beginning, const std::string& name) {
  // Text in UTF-16 may be a table as well.
  const KnownFile known = FileKindOf(beginning);
  if (!known.kind.empty() && !known.kind.starts_with("text"))
    return Other(name, known.kind, known.to_table);
  // JSON is text as well: an object with a name in it, or a list of objects or lists.
  const size_t first = beginning.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return Status::Ok();
  const std::string_view text = beginning.substr(first);
  const size_t behind = text.find_first_not_of(" \t\r\n", 1);
  const char second = behind == std::string_view::npos ? '\0' : text[behind];
  if ((text[0] == '{' && (second == '"' || second == '}')) ||
      (text[0] == '[' && (second == '{' || second == '[')))
    return Other(name, "a JSON document", "pandas: read_json(FILE).to_csv(..., index=False)");
  if (first == 0) return Status::Ok();
  const KnownFile behind_blanks = FileKindOf(text);
  const bool is_page =
      behind_blanks.kind == "a web page" || behind_blanks.kind == "an XML document";
  return is_page ? Other(name, behind_blanks.kind, behind_blanks.to_table) : Status::Ok();
}

}  // namespace lockstep
