#include "engine/data/table/text_encoding.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "engine/io/text.h"

namespace lockstep::inline v0_1 {
namespace {

void AppendUtf8(uint32_t point, std::string& out) {
  if (point < 0x80) {
    out += static_cast<char>(point);
    return;
  }
  const int more = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
  constexpr unsigned char kLead[] = {0, 0xC0, 0xE0, 0xF0};
  out += static_cast<char>(kLead[more] | point >> (6 * more));
  for (int i = more - 1; i >= 0; --i) out += static_cast<char>(0x80 | (point >> (6 * i) & 0x3F));
}

// https://www.unicode.org/Public/MAPPINGS/VENDORS/MICSFT/WINDOWS/CP1252.TXT; the five bytes that
// it leaves open are control characters, as in Latin-1.
constexpr uint16_t kWindows1252[32] = {
    0x20AC, 0x0081, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160,
    0x2039, 0x0152, 0x008D, 0x017D, 0x008F, 0x0090, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
    0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x009D, 0x017E, 0x0178};

class WithoutMark final : public ByteSource {
 public:
  WithoutMark(std::unique_ptr<ByteSource> source, size_t mark)
      : source_(std::move(source)), mark_(mark) {}

  Result<size_t> Read(std::span<uint8_t> into) override {
    if (mark_ > 0) {
      std::vector<uint8_t> mark(std::exchange(mark_, 0));
      LOCKSTEP_TRY(source_->Read(mark).status());
    }
    return source_->Read(into);
  }
  int64_t size() const override { return source_->size(); }
  double share() const override { return source_->share(); }

 private:
  std::unique_ptr<ByteSource> source_;
  size_t mark_;
};

class FromUtf16 final : public ByteSource {
 public:
  FromUtf16(std::unique_ptr<ByteSource> source, bool big, std::string name)
      : source_(std::move(source)), big_(big), name_(std::move(name)), units_(size_t{1} << 16) {}

  Result<size_t> Read(std::span<uint8_t> into) override {
    size_t done = 0;
    while (done < into.size()) {
      if (next_ == ready_.size()) {
        LOCKSTEP_TRY(Decode());
        if (ready_.empty()) break;
      }
      const size_t count = std::min(into.size() - done, ready_.size() - next_);
      std::memcpy(into.data() + done, ready_.data() + next_, count);
      next_ += count;
      done += count;
    }
    return done;
  }
  int64_t size() const override { return -1; }
  double share() const override { return source_->share(); }

 private:
  Status Fail(const char* what) const {
    return Status::Corrupt(name_ + ": " + what + "; the UTF-16 text is damaged, save it as UTF-8");
  }

  Status Decode() {
    ready_.clear();
    next_ = 0;
    LOCKSTEP_TRY_ASSIGN(const size_t got, source_->Read(units_));
    if (got % 2 != 0) return Fail("the file ends within a character");
    for (size_t i = 0; i < got; i += 2) {
      const uint32_t unit = big_ ? static_cast<uint32_t>(units_[i] << 8 | units_[i + 1])
                                 : static_cast<uint32_t>(units_[i + 1] << 8 | units_[i]);
      const bool second = unit >= 0xDC00 && unit < 0xE000;
      if (second != (first_ != 0)) return Fail("half a surrogate pair stands alone");
      if (second) {
        AppendUtf8(0x10000 + ((first_ - 0xD800) << 10) + (unit - 0xDC00), ready_);
        first_ = 0;
      } else if (unit >= 0xD800 && unit < 0xDC00) {
        first_ = unit;
      } else {
        AppendUtf8(unit, ready_);
      }
    }
    if (got == 0 && first_ != 0) return Fail("half a surrogate pair stands alone");
    return got > 0 && ready_.empty() ? Decode() : Status::Ok();
  }

  std::unique_ptr<ByteSource> source_;
  const bool big_;
  const std::string name_;
  std::vector<uint8_t> units_;
  uint32_t first_ = 0;  // of a surrogate pair, whose second is to come
  std::string ready_;
  size_t next_ = 0;
};

}  // namespace

size_t FirstNotAscii(std::string_view text) {
  size_t at = 0;
  for (uint64_t word = 0; text.size() - at >= sizeof(word); at += sizeof(word)) {
    std::memcpy(&word, text.data() + at, sizeof(word));
    if ((word & 0x8080808080808080u) != 0) break;
  }
  while (at < text.size() && static_cast<unsigned char>(text[at]) < 0x80) ++at;
  return at;
}

size_t FirstNotUtf8(std::string_view text) {
  size_t at = FirstNotAscii(text);
  while (at < text.size()) {
    const Utf8Character character = FirstCharacter(text.substr(at));
    if (character.point < 0) return at;
    at += character.size;
    if (at < text.size() && static_cast<unsigned char>(text[at]) < 0x80)
      at += FirstNotAscii(text.substr(at));
  }
  return at;
}

FoundEncoding FindEncoding(std::string_view beginning, bool whole) {
  if (beginning.starts_with("\xEF\xBB\xBF")) return {TextEncoding::kUtf8, 3};
  if (beginning.starts_with("\xFF\xFE")) return {TextEncoding::kUtf16Little, 2};
  if (beginning.starts_with("\xFE\xFF")) return {TextEncoding::kUtf16Big, 2};
  // Digits, delimiters and line ends are half zeros in UTF-16.
  const std::string_view front = beginning.substr(0, 4096);
  size_t zeros[2] = {0, 0};
  for (size_t i = 0; i < front.size(); ++i) zeros[i % 2] += front[i] == '\0' ? 1 : 0;
  const size_t most = front.size() / 2;
  if (most > 0 && zeros[0] == 0 && zeros[1] > most / 2) return {TextEncoding::kUtf16Little, 0};
  if (most > 0 && zeros[1] == 0 && zeros[0] > most / 2) return {TextEncoding::kUtf16Big, 0};
  const size_t wrong = FirstNotUtf8(beginning);
  // The last character of a beginning may be cut.
  const bool utf8 = wrong == beginning.size() || (!whole && beginning.size() - wrong < 4);
  return {utf8 ? TextEncoding::kUtf8 : TextEncoding::kLatin1, 0};
}

std::string FromLatin1(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 8);
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    AppendUtf8(byte >= 0x80 && byte < 0xA0 ? kWindows1252[byte - 0x80] : byte, out);
  }
  return out;
}

std::unique_ptr<ByteSource> Decoded(std::unique_ptr<ByteSource> source, FoundEncoding encoding,
                                    const std::string& name) {
  if (encoding.mark > 0) source = std::make_unique<WithoutMark>(std::move(source), encoding.mark);
  if (encoding.encoding == TextEncoding::kUtf16Little ||
      encoding.encoding == TextEncoding::kUtf16Big) {
    source = std::make_unique<FromUtf16>(std::move(source),
                                         encoding.encoding == TextEncoding::kUtf16Big, name);
  }
  return source;
}

}  // namespace lockstep
