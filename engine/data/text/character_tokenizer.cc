#include "engine/data/text/character_tokenizer.h"

#include <algorithm>
#include <array>
#include <bit>

#include "engine/base/check.h"
#include "engine/data/byte_source.h"
#include "engine/io/text.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr int32_t kPoints = 0x110000;

// A number for what `text` begins with: its code point, or behind all of them its byte.
struct Key {
  int32_t value;
  size_t size;
};
Key FirstKey(std::string_view text) {
  const Utf8Character first = FirstCharacter(text);
  if (first.point >= 0) return {first.point, first.size};
  return {kPoints + static_cast<unsigned char>(text[0]), 1};
}

class CharacterTokenizer final : public Tokenizer {
 public:
  explicit CharacterTokenizer(std::string_view text) {
    std::vector<uint64_t> used((kPoints + 256) / 64);  // a bit for each
    for (size_t i = 0; i < text.size();) {
      const Key key = FirstKey(text.substr(i));
      used[static_cast<size_t>(key.value / 64)] |= uint64_t{1} << (key.value % 64);
      i += key.size;
    }
    for (size_t word = 0; word < used.size(); ++word) {
      for (uint64_t bits = used[word]; bits != 0; bits &= bits - 1)
        keys_.push_back(static_cast<int32_t>(64 * word) + std::countr_zero(bits));
    }
    tokens_of_ascii_.fill(-1);
    ends_.assign(keys_.size(), 0);
    std::vector<size_t> places(keys_.size());
    for (size_t i = 0; i < text.size();) {
      const Key key = FirstKey(text.substr(i));
      const auto token = static_cast<size_t>(Find(key.value));
      places[token] = i;
      ends_[token] = key.size;
      i += key.size;
    }
    for (size_t token = 0; token < keys_.size(); ++token) {
      text_ += text.substr(places[token], ends_[token]);
      ends_[token] = text_.size();
      if (keys_[token] < kAscii)
        tokens_of_ascii_[static_cast<size_t>(keys_[token])] = static_cast<int32_t>(token);
    }
  }

  std::string kind() const override { return "characters"; }
  int64_t size() const override { return static_cast<int64_t>(keys_.size()); }

  Status Encode(std::string_view text, std::vector<int32_t>& tokens) const override {
    const size_t before = tokens.size();
    tokens.reserve(before + text.size());
    int64_t line = 1, characters = 0;
    for (size_t i = 0; i < text.size();) {
      const Key key = FirstKey(text.substr(i));
      const int32_t token =
          key.value < kAscii ? tokens_of_ascii_[static_cast<size_t>(key.value)] : Find(key.value);
      if (token < 0) {
        tokens.resize(before);
        return Status::Invalid("character " + std::to_string(characters) + " (line " +
                               std::to_string(line) + ") is " + Shown(text.substr(i, key.size)) +
                               ", which is none of the " + std::to_string(size()) +
                               " that the tokenizer knows");
      }
      tokens.push_back(token);
      ++characters;
      if (text[i] == '\n') ++line;
      i += key.size;
    }
    return Status::Ok();
  }

  std::string_view Bytes(int32_t token) const override {
    LOCKSTEP_CHECK(token >= 0 && token < size(), std::to_string(token));
    const auto i = static_cast<size_t>(token);
    const size_t begin = i == 0 ? 0 : ends_[i - 1];
    return std::string_view(text_).substr(begin, ends_[i] - begin);
  }

  std::string Description() const override {
    const auto stray = std::lower_bound(keys_.begin(), keys_.end(), kPoints);
    const auto characters = static_cast<size_t>(stray - keys_.begin());
    const size_t end = characters == 0 ? 0 : ends_[characters - 1];
    std::string list;
    for (auto key = stray; key != keys_.end(); ++key)
      list += (list.empty() ? "" : ", ") + std::to_string(*key - kPoints);
    return R"({"kind": "characters", "characters": )" + JsonString(text_.substr(0, end)) +
           R"(, "bytes": [)" + list + "]}";
  }

 private:
  static constexpr int32_t kAscii = 128;

  int32_t Find(int32_t key) const {
    const auto found = std::lower_bound(keys_.begin(), keys_.end(), key);
    if (found == keys_.end() || *found != key) return -1;
    return static_cast<int32_t>(found - keys_.begin());
  }

  // A character between quotes, a byte that is none by its number.
  static std::string Shown(std::string_view bytes) {
    const auto byte = static_cast<unsigned char>(bytes[0]);
    if (bytes.size() > 1 || (byte >= 0x20 && byte < 0x7F)) return ShownText(bytes);
    return "the byte " + std::to_string(byte);
  }

  std::vector<int32_t> keys_;  // of each token, ascending
  std::string text_;           // their bytes, one after the other
  std::vector<size_t> ends_;   // of each within text_
  std::array<int32_t, kAscii> tokens_of_ascii_;
};

}  // namespace

std::shared_ptr<const Tokenizer> MakeCharacterTokenizer(std::string_view text) {
  return std::make_shared<CharacterTokenizer>(text);
}

}  // namespace lockstep
