#include "engine/data/text/text_file.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "engine/data/byte_source.h"

namespace lockstep::inline v0_1 {

Result<std::string> ReadTextFile(const std::string& path, int64_t limit) {
  LOCKSTEP_TRY_ASSIGN(const std::unique_ptr<ByteSource> source, OpenFile(path));
  constexpr size_t kPiece = size_t{1} << 16;
  std::string text;
  if (source->size() > 0 && source->size() <= limit)
    text.reserve(static_cast<size_t>(source->size()) + kPiece);
  for (size_t got = kPiece; got == kPiece;) {
    const size_t used = text.size();
    text.resize(used + kPiece);
    LOCKSTEP_TRY_ASSIGN(got,
                        source->Read({reinterpret_cast<uint8_t*>(text.data()) + used, kPiece}));
    text.resize(used + got);
    if (static_cast<int64_t>(text.size()) > limit) {
      return Status::Invalid(path + ": holds more than the " + std::to_string(limit) +
                             " bytes that are taken; is it the right file?");
    }
  }
  if (text.empty()) return Status::Corrupt(path + ": the file is empty; it must hold text");
  return text;
}

Result<std::vector<NamedText>> ReadTexts(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  std::vector<std::string> files;
  if (!fs::is_directory(path, error)) {
    files.push_back(path);
  } else {
    for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
      const std::string name = it->path().filename().string();
      if (name.ends_with(".txt") || name.ends_with(".txt.gz")) files.push_back(it->path().string());
    }
    if (error) return Status::Io(path + ": the folder cannot be read: " + error.message());
    if (files.empty()) {
      return Status::NotFound(path + ": the folder holds no file NAME.txt or NAME.txt.gz");
    }
    std::sort(files.begin(), files.end());
  }
  std::vector<NamedText> texts;
  for (std::string& file : files) {
    LOCKSTEP_TRY_ASSIGN(std::string text, ReadTextFile(file));
    texts.push_back({std::move(file), std::move(text)});
  }
  return texts;
}

Result<std::vector<int32_t>> EncodeTexts(const Tokenizer& tokenizer,
                                         std::span<const NamedText> texts) {
  std::vector<int32_t> tokens;
  for (const NamedText& text : texts) {
    LOCKSTEP_TRY(tokenizer.Encode(text.text, tokens).At(text.name));
    if (texts.size() > 1 && tokenizer.end_of_text() >= 0) tokens.push_back(tokenizer.end_of_text());
  }
  return tokens;
}

}  // namespace lockstep
