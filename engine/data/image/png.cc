#include "engine/data/image/png.h"

#include <png.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <limits>
#include <vector>

#include "engine/data/image/exif.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr char kCutOff[] = "is cut off: it ends before the picture does; fetch the file again";
constexpr std::array<uint8_t, 8> kSignature = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
constexpr int64_t kMostSide = 0x7FFFFFFF;

uint32_t BigEndian32(const uint8_t* b) {
  return uint32_t{b[0]} << 24 | uint32_t{b[1]} << 16 | uint32_t{b[2]} << 8 | b[3];
}

// libpng reports errors by a call that must not return. The functions below that call into it hold
// setjmp, and nothing that has a destructor: all memory belongs to their callers, so that a longjmp
// passes over frames of C only.
class Reader {
 public:
  explicit Reader(std::span<const uint8_t> file) : rest_(file) {}
  ~Reader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  // Reads up to the pixels and asks for 8 or 16 bits, without palettes, alpha last where there is
  // any. False: failure() says why.
  bool ReadHeader();
  // rows: height() pointers to row_bytes() bytes.
  bool ReadRows(uint8_t** rows);

  // After ReadHeader.
  int64_t height() const { return png_get_image_height(png_, info_); }
  int64_t width() const { return png_get_image_width(png_, info_); }
  int64_t channels() const { return png_get_channels(png_, info_); }  // 1 to 4, with alpha
  int64_t depth() const { return png_get_bit_depth(png_, info_); }    // 8 or 16
  size_t row_bytes() const { return png_get_rowbytes(png_, info_); }
  // The bits of a pixel in the file.
  int64_t stored_bits() const { return stored_bits_; }
  Status failure() const { return Status::Corrupt(failure_.data()); }

 private:
  [[noreturn]] void Fail(const char* text) {
    std::snprintf(failure_.data(), failure_.size(), "%s", text);
    std::longjmp(jump_, 1);
  }
  [[noreturn]] static void OnError(png_structp png, png_const_charp message) {
    std::array<char, 256> text{};
    std::snprintf(text.data(), text.size(), "is damaged or of a kind that is not read (libpng: %s)",
                  message);
    static_cast<Reader*>(png_get_error_ptr(png))->Fail(text.data());
  }
  static void OnRead(png_structp png, png_bytep into, size_t count) {
    auto& reader = *static_cast<Reader*>(png_get_io_ptr(png));
    if (count > reader.rest_.size()) reader.Fail(kCutOff);
    std::memcpy(into, reader.rest_.data(), count);
    reader.rest_ = reader.rest_.subspan(count);
  }

  std::span<const uint8_t> rest_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  int64_t stored_bits_ = 0;
  std::jmp_buf jump_{};
  std::array<char, 256> failure_{};
};

bool Reader::ReadHeader() {
  if (setjmp(jump_) != 0) return false;
  png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, OnError,
                                [](png_structp, png_const_charp) {});
  if (png_ == nullptr) Fail("cannot be read: libpng did not start");
  info_ = png_create_info_struct(png_);
  if (info_ == nullptr) Fail("cannot be read: libpng did not start");
  png_set_read_fn(png_, this, OnRead);
  png_set_user_limits(png_, kMostSide, kMostSide);  // the caller's limit is on the whole
  // A checksum that does not fit is damage, in whatever chunk it is: where tRNS were dropped, other
  // pixels would come out.
  png_set_crc_action(png_, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
  // Texts, profiles and hints can be bombs of their own and change no pixel. This keeps what is
  // needed: IHDR, PLTE, tRNS, IDAT, IEND.
  png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
  png_read_info(png_, info_);
  stored_bits_ = int64_t{png_get_channels(png_, info_)} * png_get_bit_depth(png_, info_);
  png_set_expand(png_);
  (void)png_set_interlace_handling(png_);
  png_read_update_info(png_, info_);
  return true;
}

bool Reader::ReadRows(uint8_t** rows) {
  if (setjmp(jump_) != 0) return false;
  png_read_image(png_, rows);
  png_read_end(png_, nullptr);
  return true;
}

// Rows as libpng leaves them (16 bits: big-endian) without their alpha, on white.
template <class T>
std::vector<T> OnWhite(const std::vector<uint8_t>& raw, int64_t pixels, int64_t from_channels,
                       int64_t channels) {
  constexpr uint32_t kWhite = std::numeric_limits<T>::max();
  const auto value = [&](int64_t index) -> uint32_t {
    if constexpr (sizeof(T) == 1) return raw[static_cast<size_t>(index)];
    const auto at = static_cast<size_t>(2 * index);
    return uint32_t{raw[at]} << 8 | raw[at + 1];
  };
  std::vector<T> to(static_cast<size_t>(pixels * channels));
  T* next = to.data();
  for (int64_t i = 0; i < pixels; ++i) {
    const int64_t at = i * from_channels;
    const uint32_t alpha = from_channels > channels ? value(at + channels) : kWhite;
    for (int64_t c = 0; c < channels; ++c) {
      // At most 65535^2 + 32767, which fits 32 bits.
      const uint32_t sum = alpha * value(at + c) + (kWhite - alpha) * kWhite;
      *next++ = static_cast<T>((sum + kWhite / 2) / kWhite);
    }
  }
  return to;
}

// The chunk eXIf may come before the pixels or after them: the chunks are walked. Broken ones are
// libpng's to refuse.
int OrientationOf(std::span<const uint8_t> file) {
  constexpr size_t kAround = 12;  // length, type; checksum
  std::span<const uint8_t> rest = file.subspan(kSignature.size());
  while (rest.size() >= kAround) {
    const size_t length = BigEndian32(rest.data());
    if (length > rest.size() - kAround) return 1;
    if (std::memcmp(rest.data() + 4, "eXIf", 4) == 0)
      return ExifOrientation(rest.subspan(8, length));
    rest = rest.subspan(kAround + length);
  }
  return 1;
}

}  // namespace

bool IsPng(std::span<const uint8_t> file) {
  return file.size() >= kSignature.size() &&
         std::equal(kSignature.begin(), kSignature.end(), file.begin());
}

Result<PictureInfo> InspectPng(std::span<const uint8_t> file) {
  // IHDR is the first chunk: 4 bytes of length, its name, width, height, bits, colours.
  constexpr size_t kHeaderEnd = 8 + 8 + 13;
  constexpr uint8_t kColour = 2;  // a bit of `colours`
  if (file.size() < kHeaderEnd) return Status::Corrupt(kCutOff);
  const uint8_t* header = file.data() + 16;
  if (std::memcmp(file.data() + 12, "IHDR", 4) != 0) {
    return Status::Corrupt("is damaged: its header is not the first chunk; fetch the file again");
  }
  PictureInfo info{.kind = PictureInfo::Kind::kPng,
                   .height = BigEndian32(header + 4),
                   .width = BigEndian32(header),
                   .channels = (header[9] & kColour) != 0 ? 3 : 1,
                   .white = header[8] == 16 ? 65535 : 255,
                   .orientation = OrientationOf(file)};
  if (info.height < 1 || info.width < 1 || info.height > kMostSide || info.width > kMostSide) {
    return Status::Corrupt("is damaged: its header claims " + std::to_string(info.height) + " x " +
                           std::to_string(info.width) + " pixels");
  }
  if (SwapsSides(static_cast<int>(info.orientation))) std::swap(info.height, info.width);
  return info;
}

Result<Picture> DecodePng(std::span<const uint8_t> file, int64_t max_pixels, PictureInfo& info) {
  LOCKSTEP_TRY_ASSIGN(info, InspectPng(file));
  LOCKSTEP_TRY(CheckPictureSize(info.height, info.width, max_pixels));
  Reader reader(file);
  if (!reader.ReadHeader()) return reader.failure();
  const int64_t height = reader.height(), width = reader.width();
  // Deflate makes at most 1032 bytes of one: a header that claims more takes no memory.
  const int64_t packed_limit = 1032 * static_cast<int64_t>(file.size());
  if (height * ((width * reader.stored_bits() + 7) / 8) > packed_limit) {
    return Status::Corrupt(kCutOff);
  }
  const size_t row_bytes = reader.row_bytes();
  std::vector<uint8_t> raw(static_cast<size_t>(height) * row_bytes);
  std::vector<uint8_t*> rows(static_cast<size_t>(height));
  for (size_t y = 0; y < rows.size(); ++y) rows[y] = raw.data() + y * row_bytes;
  if (!reader.ReadRows(rows.data())) return reader.failure();

  const int64_t from_channels = reader.channels();
  Picture picture{.height = height, .width = width, .channels = from_channels < 3 ? 1 : 3};
  const int64_t pixels = height * width;
  if (reader.depth() == 16) {
    picture.white = 65535;
    picture.words = OnWhite<uint16_t>(raw, pixels, from_channels, picture.channels);
  } else if (from_channels == picture.channels) {
    picture.bytes = std::move(raw);
  } else {
    picture.bytes = OnWhite<uint8_t>(raw, pixels, from_channels, picture.channels);
  }
  return picture;
}

}  // namespace lockstep
