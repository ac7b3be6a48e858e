#include "engine/data/text/bpe_files.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>
#include <unordered_set>
#include <utility>
#include <vector>

#include "engine/data/text/bpe_tokenizer.h"
#include "engine/data/text/text_file.h"
#include "engine/io/file.h"

namespace lockstep::inline v0_1 {
namespace {

using Json = nlohmann::json;

constexpr int64_t kLargestFile = int64_t{1} << 28;

Result<Json> ParseObject(std::string_view text, const char* what) {
  Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object())
    return Status::Corrupt(std::string("is not JSON with an object, as ") + what + " is");
  return json;
}

// Tokens by their numbers, each of which comes once.
class TokenList {
 public:
  Status Add(const std::string& name, const Json& number, BpeToken token) {
    const bool whole = number.is_number_unsigned() && number.get<uint64_t>() < kMost;
    if (!whole) {
      return Status::Corrupt("token " + Quoted(name) + " has the number " + Quoted(number.dump()) +
                             ", expected a whole one from 0 on");
    }
    const auto place = number.get<size_t>();
    given_.push_back({place, std::move(token)});
    return Status::Ok();
  }

  Result<std::vector<BpeToken>> Finish() {
    std::sort(given_.begin(), given_.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<BpeToken> tokens;
    for (auto& [number, token] : given_) {
      if (number < tokens.size()) {
        return Status::Corrupt("tokens " + Quoted(tokens.back().bytes) + " and " +
                               Quoted(token.bytes) + " have both the number " +
                               std::to_string(number));
      }
      if (number > tokens.size()) {
        return Status::Corrupt("no token has the number " + std::to_string(tokens.size()) +
                               ", one has " + std::to_string(number) +
                               ": numbers must be without a gap");
      }
      tokens.push_back(std::move(token));
    }
    return tokens;
  }

 private:
  static constexpr uint64_t kMost = uint64_t{1} << 30;
  std::vector<std::pair<size_t, BpeToken>> given_;
};

Result<BpeToken> TokenOf(const std::string& characters) {
  BpeToken token;
  if (BpeBytes(characters, token.bytes)) return token;
  return Status::Corrupt("token " + Quoted(characters) +
                         " holds a character that stands for no byte: this is not a byte-level "
                         "encoder");
}

Result<BpeMerge> MergeOf(const std::string& left, const std::string& right,
                         const std::string& place) {
  BpeMerge merge;
  if (!left.empty() && !right.empty() && BpeBytes(left, merge.left) && BpeBytes(right, merge.right))
    return merge;
  return Status::Corrupt(place + ": " + Quoted(left) + " and " + Quoted(right) +
                         " are no two tokens of a byte-level encoder");
}

// "left right"
Result<BpeMerge> MergeFromText(const std::string& text, const std::string& place) {
  const size_t space = text.find(' ');
  if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
    return Status::Corrupt(place + ": " + Quoted(text) +
                           " is no merge, which is two tokens with a space between");
  }
  return MergeOf(text.substr(0, space), text.substr(space + 1), place);
}

// Null, missing, false, or an empty text: as if it were not there.
bool IsOff(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() || found->is_null() || *found == Json(false) || *found == Json("");
}
bool Is(const Json& object, const char* key, const char* value) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() && *found == Json(value);
}

Status CheckKind(const Json& json, const Json& model) {
  if (!Is(model, "type", "BPE")) {
    return Status::Invalid("the model is of another kind than BPE, which alone is known");
  }
  for (const char* key : {"dropout", "continuing_subword_prefix", "end_of_word_suffix",
                          "byte_fallback", "ignore_merges"}) {
    if (!IsOff(model, key))
      return Status::Invalid("model." + std::string(key) + " is set, which is not known here");
  }
  if (!IsOff(json, "normalizer"))
    return Status::Invalid("normalizer is set: texts are taken as they are here");
  const auto split = json.find("pre_tokenizer");
  const bool byte_level = split != json.end() && split->is_object() &&
                          Is(*split, "type", "ByteLevel") && IsOff(*split, "add_prefix_space") &&
                          (split->find("use_regex") == split->end() || !IsOff(*split, "use_regex"));
  if (!byte_level) {
    return Status::Invalid(
        "pre_tokenizer is not ByteLevel with add_prefix_space false and use_regex true: only texts "
        "that are split as GPT-2 does are known");
  }
  return Status::Ok();
}

}  // namespace

Result<std::shared_ptr<const Tokenizer>> ParseBpe(std::string_view vocabulary,
                                                  std::string_view merges) {
  LOCKSTEP_TRY_ASSIGN(const Json json, ParseObject(vocabulary, "vocab.json"));
  TokenList list;
  for (const auto& [name, number] : json.items()) {
    LOCKSTEP_TRY_ASSIGN(BpeToken token, TokenOf(name));
    token.special = token.bytes == kEndOfTextToken;
    LOCKSTEP_TRY(list.Add(name, number, std::move(token)));
  }
  LOCKSTEP_TRY_ASSIGN(std::vector<BpeToken> tokens, list.Finish());

  std::vector<BpeMerge> pairs;
  int64_t line_number = 0;
  for (size_t begin = 0, end; begin < merges.size(); begin = end + 1) {
    end = std::min(merges.find('\n', begin), merges.size());
    std::string line(merges.substr(begin, end - begin));
    if (line.ends_with('\r')) line.pop_back();
    ++line_number;
    if (line_number == 1 && line.starts_with("#version")) continue;
    if (line.empty() && merges.find_first_not_of("\r\n", begin) == std::string_view::npos) break;
    LOCKSTEP_TRY_ASSIGN(pairs.emplace_back(),
                        MergeFromText(line, "merges, line " + std::to_string(line_number)));
  }
  return MakeBpeTokenizer(std::move(tokens), pairs);
}

Result<std::shared_ptr<const Tokenizer>> ParseTokenizerJson(std::string_view text) {
  LOCKSTEP_TRY_ASSIGN(const Json json, ParseObject(text, "tokenizer.json"));
  const auto model = json.find("model");
  if (model == json.end() || !model->is_object())
    return Status::Corrupt("has no model, as tokenizer.json has");
  LOCKSTEP_TRY(CheckKind(json, *model));
  const auto vocabulary = model->find("vocab");
  const auto merges = model->find("merges");
  if (vocabulary == model->end() || !vocabulary->is_object())
    return Status::Corrupt("model.vocab is not an object of tokens and their numbers");
  if (merges == model->end() || !merges->is_array())
    return Status::Corrupt("model.merges is not a list");

  TokenList list;
  std::unordered_set<std::string> added_names;
  if (const auto added = json.find("added_tokens"); added != json.end() && !added->is_null()) {
    if (!added->is_array()) return Status::Corrupt("added_tokens is not a list");
    for (const Json& one : *added) {
      const auto content = one.find("content"), id = one.find("id"), special = one.find("special");
      if (!one.is_object() || content == one.end() || !content->is_string() || id == one.end())
        return Status::Corrupt("added_tokens holds one without an id and a content");
      const auto name = content->get<std::string>();
      if (special == one.end() || *special != Json(true)) {
        return Status::Invalid("the added token " + Quoted(name) +
                               " is not special: texts with it would be split otherwise, which is "
                               "not known here");
      }
      LOCKSTEP_TRY(list.Add(name, *id, {.bytes = name, .special = true}));
      added_names.insert(name);
    }
  }
  for (const auto& [name, number] : vocabulary->items()) {
    // A token that was added may stand among the others, too.
    if (added_names.contains(name)) continue;
    LOCKSTEP_TRY_ASSIGN(BpeToken token, TokenOf(name));
    LOCKSTEP_TRY(list.Add(name, number, std::move(token)));
  }
  LOCKSTEP_TRY_ASSIGN(std::vector<BpeToken> tokens, list.Finish());

  std::vector<BpeMerge> pairs;
  for (const Json& one : *merges) {
    const std::string place = "model.merges, number " + std::to_string(pairs.size() + 1);
    if (one.is_string()) {
      LOCKSTEP_TRY_ASSIGN(pairs.emplace_back(), MergeFromText(one.get<std::string>(), place));
    } else if (one.is_array() && one.size() == 2 && one[0].is_string() && one[1].is_string()) {
      LOCKSTEP_TRY_ASSIGN(pairs.emplace_back(),
                          MergeOf(one[0].get<std::string>(), one[1].get<std::string>(), place));
    } else {
      return Status::Corrupt(place + " is neither a text nor a list of two");
    }
  }
  return MakeBpeTokenizer(std::move(tokens), pairs);
}

namespace {

// The file of this name, or the compressed one; empty: neither.
std::string FileIn(const std::string& folder, const std::string& name) {
  std::error_code ignored;
  for (const char* ending : {"", ".gz"}) {
    std::string path = folder + "/" + name + ending;
    if (std::filesystem::exists(path, ignored)) return path;
  }
  return "";
}

Result<std::shared_ptr<const Tokenizer>> ReadTokenizerJson(const std::string& path) {
  LOCKSTEP_TRY_ASSIGN(const std::string text, ReadTextFile(path, kLargestFile));
  Result<std::shared_ptr<const Tokenizer>> tokenizer = ParseTokenizerJson(text);
  if (!tokenizer.ok()) return tokenizer.status().At(path);
  return tokenizer;
}

}  // namespace

Result<std::shared_ptr<const Tokenizer>> ReadBpe(const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(path, ignored)) return ReadTokenizerJson(path);
  if (const std::string file = FileIn(path, "tokenizer.json"); !file.empty())
    return ReadTokenizerJson(file);
  const std::string vocabulary = FileIn(path, "vocab.json"), merges = FileIn(path, "merges.txt");
  if (vocabulary.empty() || merges.empty()) {
    return Status::NotFound(path +
                            ": holds neither tokenizer.json nor vocab.json and merges.txt (or the "
                            "same compressed, .gz); give a folder that does");
  }
  LOCKSTEP_TRY_ASSIGN(const std::string vocabulary_text, ReadTextFile(vocabulary, kLargestFile));
  LOCKSTEP_TRY_ASSIGN(const std::string merges_text, ReadTextFile(merges, kLargestFile));
  Result<std::shared_ptr<const Tokenizer>> tokenizer = ParseBpe(vocabulary_text, merges_text);
  if (!tokenizer.ok()) return tokenizer.status().At(path);
  return tokenizer;
}

}  // namespace lockstep
