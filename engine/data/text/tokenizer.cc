#include "engine/data/text/tokenizer.h"

#include <nlohmann/json.hpp>

#include "engine/data/text/bpe_files.h"
#include "engine/data/text/byte_tokenizer.h"
#include "engine/data/text/character_tokenizer.h"
#include "engine/io/file.h"
#include "engine/io/text.h"

namespace lockstep::inline v0_1 {
namespace {

using Json = nlohmann::json;

Status Damaged(const std::string& what) {
  return Status::Corrupt("the description of a tokenizer " + what + "; the file is damaged");
}

Result<std::shared_ptr<const Tokenizer>> Characters(const Json& json) {
  const auto characters = json.find("characters"), bytes = json.find("bytes");
  if (characters == json.end() || !characters->is_string() || bytes == json.end() ||
      !bytes->is_array())
    return Damaged("lacks its characters");
  auto text = characters->get<std::string>();
  std::string stray;
  for (const Json& byte : *bytes) {
    if (!byte.is_number_unsigned() || byte.get<uint64_t>() > 255 ||
        (!stray.empty() && static_cast<unsigned char>(stray.back()) >= byte.get<uint64_t>()))
      return Damaged("has a wrong list of bytes");
    stray += static_cast<char>(byte.get<int>());
  }
  // Ascending bytes never begin a character that another of them ends.
  std::shared_ptr<const Tokenizer> tokenizer = MakeCharacterTokenizer(text + stray);
  if (tokenizer->size() == 0) return Damaged("has no characters");
  return tokenizer;
}

}  // namespace

Result<std::shared_ptr<const Tokenizer>> TokenizerFrom(std::string_view description) {
  const Json json =
      Json::parse(description.begin(), description.end(), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return Damaged("is not JSON");
  if (json.contains("model")) {
    Result<std::shared_ptr<const Tokenizer>> bpe = ParseTokenizerJson(description);
    if (!bpe.ok()) return bpe.status().At("the description of a tokenizer");
    return bpe;
  }
  const auto kind = json.find("kind");
  if (kind == json.end() || !kind->is_string()) return Damaged("does not say its kind");
  if (*kind == Json("bytes")) return MakeByteTokenizer();
  if (*kind == Json("characters")) return Characters(json);
  return Damaged("is of the unknown kind " + Quoted(kind->get<std::string>()));
}

}  // namespace lockstep
