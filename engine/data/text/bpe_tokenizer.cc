#include "engine/data/text/bpe_tokenizer.h"

#include <algorithm>
#include <array>
#include <functional>
#include <limits>
#include <unordered_map>
#include <utility>

#include "engine/base/check.h"
#include "engine/data/byte_source.h"
#include "engine/data/text/gpt2_words.h"
#include "engine/io/file.h"
#include "engine/io/text.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr int kBytes = 256;

// The code point that stands for each byte.
constexpr auto kPointOfByte = [] {
  std::array<int32_t, kBytes> points{};
  int32_t others = 256;
  for (int byte = 0; byte < kBytes; ++byte) {
    const bool printable =
        (byte > 0x20 && byte < 0x7F) || (byte > 0xA0 && byte != 0xAD);  // AD: a soft hyphen
    points[static_cast<size_t>(byte)] = printable ? byte : others++;
  }
  return points;
}();
constexpr int32_t kMostPoint = *std::max_element(kPointOfByte.begin(), kPointOfByte.end());

// -1: none.
constexpr auto kByteOfPoint = [] {
  std::array<int, kMostPoint + 1> bytes{};
  bytes.fill(-1);
  for (int byte = 0; byte < kBytes; ++byte)
    bytes[static_cast<size_t>(kPointOfByte[static_cast<size_t>(byte)])] = byte;
  return bytes;
}();

struct Pair {
  int32_t left, right;
  bool operator==(const Pair&) const = default;
};
struct HashOfPair {
  size_t operator()(Pair pair) const {
    uint64_t word = static_cast<uint64_t>(static_cast<uint32_t>(pair.left)) << 32 |
                    static_cast<uint32_t>(pair.right);
    word = (word ^ word >> 29) * 0x9E3779B97F4A7C15;
    return static_cast<size_t>(word ^ word >> 32);
  }
};
struct Merged {
  int32_t rank, token;
};
using Merges = std::unordered_map<Pair, Merged, HashOfPair>;

// The merging of one word, over a list of what is left of it and a heap of the pairs that may be
// merged: n log n in its bytes, also where a word is a megabyte of one letter. Used again for the
// next word, so that it seldom allocates.
class WordMerger {
 public:
  explicit WordMerger(const Merges& merges) : merges_(merges) {}

  // Appends the tokens of a word whose bytes have the tokens `begin`.
  void Merge(std::span<const int32_t> begin, std::vector<int32_t>& tokens) {
    const auto count = static_cast<int64_t>(begin.size());
    parts_.clear();
    for (int64_t i = 0; i < count; ++i)
      parts_.push_back({begin[static_cast<size_t>(i)], i - 1, i + 1 < count ? i + 1 : kNone});
    candidates_.clear();
    for (int64_t i = 0; i + 1 < count; ++i) Offer(i);
    while (!candidates_.empty()) {
      std::pop_heap(candidates_.begin(), candidates_.end(), std::greater<>());
      const auto [rank, place] = candidates_.back();
      candidates_.pop_back();
      // Its parts may have been merged with others meanwhile.
      if (const Merged* merged = MergeAt(place); merged != nullptr && merged->rank == rank)
        Join(place, merged->token);
    }
    for (int64_t i = 0; i != kNone; i = At(i).next) tokens.push_back(At(i).token);
  }

 private:
  static constexpr int64_t kNone = -1;
  static constexpr int32_t kGone = -1;
  struct Part {
    int32_t token;  // kGone: part of the one before
    int64_t previous, next;
  };
  using Candidate = std::pair<int32_t, int64_t>;  // rank, place of the left part: the order of work

  Part& At(int64_t place) { return parts_[static_cast<size_t>(place)]; }

  const Merged* MergeAt(int64_t place) {
    const Part& part = At(place);
    if (part.token == kGone || part.next == kNone) return nullptr;
    const auto found = merges_.find({part.token, At(part.next).token});
    return found == merges_.end() ? nullptr : &found->second;
  }

  void Offer(int64_t place) {
    const Merged* merged = MergeAt(place);
    if (merged == nullptr) return;
    candidates_.emplace_back(merged->rank, place);
    std::push_heap(candidates_.begin(), candidates_.end(), std::greater<>());
  }

  void Join(int64_t place, int32_t token) {
    Part& part = At(place);
    Part& gone = At(part.next);
    part.token = token;
    part.next = gone.next;
    gone.token = kGone;
    if (part.next != kNone) At(part.next).previous = place;
    Offer(place);
    if (part.previous != kNone) Offer(part.previous);
  }

  const Merges& merges_;
  std::vector<Part> parts_;
  std::vector<Candidate> candidates_;  // a heap, the least first
};

class BpeTokenizer final : public Tokenizer {
 public:
  BpeTokenizer(std::vector<BpeToken> tokens, Merges merges, std::vector<Pair> order)
      : tokens_(std::move(tokens)), merges_(std::move(merges)), order_(std::move(order)) {
    token_of_byte_.fill(-1);
    for (size_t i = 0; i < tokens_.size(); ++i) {
      const BpeToken& token = tokens_[i];
      const auto number = static_cast<int32_t>(i);
      if (token.special && token.bytes == kEndOfTextToken) end_of_text_ = number;
      if (!token.special && token.bytes.size() == 1)
        token_of_byte_[static_cast<unsigned char>(token.bytes[0])] = number;
    }
  }

  std::string kind() const override { return "bpe"; }
  int64_t size() const override { return static_cast<int64_t>(tokens_.size()); }
  int32_t end_of_text() const override { return end_of_text_; }

  Status Encode(std::string_view text, std::vector<int32_t>& tokens) const override {
    // Words come again and again: of most, the tokens are copied from where they came first.
    constexpr size_t kLongestKnown = 64, kMostKnown = size_t{1} << 17;
    struct Place {
      size_t begin, count;
    };
    std::unordered_map<std::string_view, Place> known;
    WordMerger merger(merges_);
    const size_t before = tokens.size();
    std::vector<int32_t> bytes;
    for (size_t i = 0; i < text.size();) {
      const std::string_view word = text.substr(i, FirstWordSize(text.substr(i)));
      const auto found = word.size() <= kLongestKnown ? known.find(word) : known.end();
      if (found != known.end()) {
        const Place place = found->second;
        for (size_t k = 0; k < place.count; ++k) tokens.push_back(int32_t{tokens[place.begin + k]});
      } else {
        bytes.clear();
        for (size_t k = 0; k < word.size(); ++k) {
          const auto byte = static_cast<unsigned char>(word[k]);
          if (token_of_byte_[byte] < 0) {
            tokens.resize(before);
            return Status::Invalid("byte " + std::to_string(i + k) + " of the text is " +
                                   std::to_string(byte) + ", which has no token");
          }
          bytes.push_back(token_of_byte_[byte]);
        }
        const size_t begin = tokens.size();
        merger.Merge(bytes, tokens);
        if (word.size() <= kLongestKnown && known.size() < kMostKnown)
          known.emplace(word, Place{begin, tokens.size() - begin});
      }
      i += word.size();
    }
    return Status::Ok();
  }

  std::string_view Bytes(int32_t token) const override {
    LOCKSTEP_CHECK(token >= 0 && token < size(), std::to_string(token));
    return tokens_[static_cast<size_t>(token)].bytes;
  }

  std::string Description() const override {
    std::string added, vocabulary, merges;
    for (size_t i = 0; i < tokens_.size(); ++i) {
      const std::string number = std::to_string(i);
      if (tokens_[i].special) {
        added += (added.empty() ? "" : ", ");
        added += R"({"id": )" + number + R"(, "content": )" + JsonString(tokens_[i].bytes) +
                 R"(, "special": true})";
      } else {
        vocabulary += (vocabulary.empty() ? "" : ", ") + Json(i) + ": " + number;
      }
    }
    for (const Pair pair : order_) {
      merges += (merges.empty() ? "[" : ", [") + Json(static_cast<size_t>(pair.left)) + ", " +
                Json(static_cast<size_t>(pair.right)) + "]";
    }
    return R"({"added_tokens": [)" + added +
           R"(], "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false}, )"
           R"("decoder": {"type": "ByteLevel"}, "model": {"type": "BPE", "vocab": {)" +
           vocabulary + R"(}, "merges": [)" + merges + "]}}";
  }

 private:
  std::string Json(size_t token) const { return JsonString(BpeCharacters(tokens_[token].bytes)); }

  std::vector<BpeToken> tokens_;
  Merges merges_;
  std::vector<Pair> order_;  // the merges by rank
  std::array<int32_t, kBytes> token_of_byte_;
  int32_t end_of_text_ = -1;
};

}  // namespace

const std::string_view kEndOfTextToken = "<|endoftext|>";

std::string BpeCharacters(std::string_view bytes) {
  std::string characters;
  for (const char c : bytes) {
    const int32_t point = kPointOfByte[static_cast<unsigned char>(c)];
    if (point < 0x80) {
      characters += static_cast<char>(point);
    } else {  // all are below U+0800: two bytes of UTF-8
      characters += static_cast<char>(0xC0 | point >> 6);
      characters += static_cast<char>(0x80 | (point & 0x3F));
    }
  }
  return characters;
}

bool BpeBytes(std::string_view characters, std::string& bytes) {
  bytes.clear();
  while (!characters.empty()) {
    const Utf8Character first = FirstCharacter(characters);
    if (first.point < 0 || first.point > kMostPoint) return false;
    const int byte = kByteOfPoint[static_cast<size_t>(first.point)];
    if (byte < 0) return false;
    bytes += static_cast<char>(byte);
    characters.remove_prefix(first.size);
  }
  return true;
}

Result<std::shared_ptr<const Tokenizer>> MakeBpeTokenizer(std::vector<BpeToken> tokens,
                                                          const std::vector<BpeMerge>& merges) {
  if (tokens.empty()) return Status::Invalid("a tokenizer needs tokens, this one has none");
  if (tokens.size() > std::numeric_limits<int32_t>::max() / 2)
    return Status::Invalid("a tokenizer of " + std::to_string(tokens.size()) + " tokens");
  std::unordered_map<std::string_view, int32_t> numbers;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const BpeToken& token = tokens[i];
    if (token.bytes.empty()) {
      return Status::Corrupt("token " + std::to_string(i) + " is an empty text");
    }
    if (token.special && IsUtf8(token.bytes)) continue;
    if (token.special) {
      return Status::Invalid("the special token " + std::to_string(i) +
                             " is not UTF-8: " + Quoted(token.bytes));
    }
    const auto [found, is_new] = numbers.emplace(token.bytes, static_cast<int32_t>(i));
    if (!is_new) {
      return Status::Corrupt("tokens " + std::to_string(found->second) + " and " +
                             std::to_string(i) + " are the same, " + Quoted(token.bytes));
    }
  }
  Merges known;
  std::vector<Pair> order;
  for (const BpeMerge& merge : merges) {
    const std::string place = "merge " + std::to_string(order.size() + 1) + ", " +
                              Quoted(BpeCharacters(merge.left)) + " and " +
                              Quoted(BpeCharacters(merge.right));
    std::array<int32_t, 3> found{};
    const std::array<std::string, 3> texts = {merge.left, merge.right, merge.left + merge.right};
    for (size_t i = 0; i < found.size(); ++i) {
      const auto number = numbers.find(texts[i]);
      if (number == numbers.end()) {
        return Status::Corrupt(place + ": there is no token " + Quoted(BpeCharacters(texts[i])) +
                               "; do the merges and the tokens belong together?");
      }
      found[i] = number->second;
    }
    const Pair pair{found[0], found[1]};
    const auto rank = static_cast<int32_t>(order.size());
    const auto [earlier, is_new] = known.emplace(pair, Merged{rank, found[2]});
    if (!is_new) {
      return Status::Corrupt(place + ": is merge " + std::to_string(earlier->second.rank + 1) +
                             " already");
    }
    order.push_back(pair);
  }
  return std::shared_ptr<const Tokenizer>(
      std::make_shared<BpeTokenizer>(std::move(tokens), std::move(known), std::move(order)));
}

}  // namespace lockstep
