#include "tools/command/csv_output.h"

#include <cstdio>

#include "engine/io/file.h"
#include "models/recipe_keys.h"

namespace lockstep::inline v0_1::tools {

std::string CsvField(const std::string& text, char delimiter) {
  if (text.find_first_of(std::string("\"\r\n") + delimiter) == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

char OutputDelimiter(const SavedModel& model) {
  if (model.samples.table == nullptr) return DelimiterOf(model.recipe.data);
  const char found = model.samples.table->dialect.delimiter;
  return found == ' ' ? ',' : found;
}

Status WriteOrPrint(const std::string& output, const std::string& text, const char* what) {
  if (!output.empty()) return WriteFileAtomically(output, text);
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0)
    return Status::Ok();
  return Status::Io(std::string(what) + " cannot be printed; give a file with -o");
}

void SayRemarks(const std::string& path, const std::vector<std::string>& remarks) {
  for (const std::string& remark : remarks)
    std::fprintf(stderr, "note: %s: %s\n", path.c_str(), remark.c_str());
}

}  // namespace lockstep::tools
