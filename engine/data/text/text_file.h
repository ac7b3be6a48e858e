// Texts from files, as tokens.
#ifndef LOCKSTEP_ENGINE_DATA_TEXT_TEXT_FILE_H_
#define LOCKSTEP_ENGINE_DATA_TEXT_TEXT_FILE_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/data/text/tokenizer.h"

namespace lockstep::inline v0_1 {

inline constexpr int64_t kLargestText = int64_t{1} << 36;

// The bytes of a file, plain or gzip-compressed. Errors: it is empty, or longer than `limit`.
Result<std::string> ReadTextFile(const std::string& path, int64_t limit = kLargestText);

struct NamedText {
  std::string name;  // the file's path, for messages
  std::string text;  // any bytes
};
// Of a file; or of each file NAME.txt or NAME.txt.gz in a folder, in the order of their names.
Result<std::vector<NamedText>> ReadTexts(const std::string& path);

// The texts one after the other; each of several is followed by end_of_text(), where there is one.
// Errors carry the name of the text.
Result<std::vector<int32_t>> EncodeTexts(const Tokenizer& tokenizer,
                                         std::span<const NamedText> texts);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TEXT_TEXT_FILE_H_
