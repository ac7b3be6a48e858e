#include "engine/data/image/jpeg.h"

// jpeglib.h uses size_t and FILE without including what declares them.
#include <cstddef>
#include <cstdio>
//
#include <jerror.h>
#include <jpeglib.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstring>
#include <vector>

#include "engine/data/image/exif.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr char kCutOff[] = "is cut off: it ends before the picture does; fetch the file again";
// A progressive file of a few kilobytes can ask for thousands of passes over a large picture.
constexpr int kMostScans = 500;
constexpr int kExifMarker = JPEG_APP0 + 1;

// libjpeg reports errors by a call that must not return. The functions below that call into it hold
// setjmp, and nothing that has a destructor: all memory belongs to their callers, so that a longjmp
// passes over frames of C only.
class Reader {
 public:
  explicit Reader(std::span<const uint8_t> file) : file_(file) {
    jpeg_.err = jpeg_std_error(&errors_);
    errors_.error_exit = OnError;
    errors_.emit_message = OnMessage;
    errors_.output_message = [](j_common_ptr) {};
    jpeg_.client_data = this;
  }
  ~Reader() { jpeg_destroy_decompress(&jpeg_); }  // also of one that was never made
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  // False: failure() says why.
  bool ReadHeader();
  bool Start(J_COLOR_SPACE colours);
  // The next row: jpeg().output_width * jpeg().output_components bytes.
  bool ReadRow(uint8_t* row);
  bool Finish();

  const jpeg_decompress_struct& jpeg() const { return jpeg_; }
  Status failure() const { return Status::Corrupt(failure_.data()); }
  int orientation() const;

 private:
  static Reader& Of(j_common_ptr jpeg) { return *static_cast<Reader*>(jpeg->client_data); }

  [[noreturn]] void Fail(const char* text) {
    std::snprintf(failure_.data(), failure_.size(), "%s", text);
    std::longjmp(jump_, 1);
  }

  [[noreturn]] static void OnError(j_common_ptr jpeg) {
    std::array<char, JMSG_LENGTH_MAX> message{};
    jpeg->err->format_message(jpeg, message.data());
    std::array<char, JMSG_LENGTH_MAX + 64> text{};
    std::snprintf(text.data(), text.size(),
                  "is damaged or of a kind that is not read (libjpeg: %s)", message.data());
    Of(jpeg).Fail(text.data());
  }

  // Warnings have level -1. Those that leave the pixels as they were meant pass.
  static void OnMessage(j_common_ptr jpeg, int level) {
    if (level >= 0) return;
    switch (jpeg->err->msg_code) {
      case JWRN_EXTRANEOUS_DATA:  // bytes between two markers
      case JWRN_ADOBE_XFORM:      // an unknown transform: as if there were none
      case JWRN_JFIF_MAJOR:
      case JWRN_BOGUS_ICC:
      case JWRN_BOGUS_PROGRESSION:  // scans in an odd order
        return;
      default:
        OnError(jpeg);
    }
  }

  static void OnProgress(j_common_ptr jpeg) {
    const auto* decompressor = reinterpret_cast<j_decompress_ptr>(jpeg);
    if (decompressor->input_scan_number <= kMostScans) return;
    Of(jpeg).Fail("has more than 500 scans; it is damaged or made to waste time");
  }

  // The whole file is in memory: being asked for more means that it has ended.
  static boolean OnEnd(j_decompress_ptr jpeg) {
    Of(reinterpret_cast<j_common_ptr>(jpeg)).Fail(kCutOff);
  }
  static void OnSkip(j_decompress_ptr jpeg, long count) {
    if (count <= 0) return;
    jpeg_source_mgr& source = *jpeg->src;
    if (static_cast<size_t>(count) > source.bytes_in_buffer) OnEnd(jpeg);
    source.next_input_byte += count;
    source.bytes_in_buffer -= static_cast<size_t>(count);
  }

  std::span<const uint8_t> file_;
  jpeg_decompress_struct jpeg_{};
  jpeg_error_mgr errors_{};
  jpeg_source_mgr source_{};
  jpeg_progress_mgr progress_{};
  std::jmp_buf jump_{};
  std::array<char, JMSG_LENGTH_MAX + 64> failure_{};
};

bool Reader::ReadHeader() {
  if (setjmp(jump_) != 0) return false;
  jpeg_create_decompress(&jpeg_);
  source_.next_input_byte = file_.data();
  source_.bytes_in_buffer = file_.size();
  source_.init_source = [](j_decompress_ptr) {};
  source_.fill_input_buffer = OnEnd;
  source_.skip_input_data = OnSkip;
  source_.resync_to_restart = jpeg_resync_to_restart;
  source_.term_source = [](j_decompress_ptr) {};
  jpeg_.src = &source_;
  progress_.progress_monitor = OnProgress;
  jpeg_.progress = &progress_;
  jpeg_save_markers(&jpeg_, kExifMarker, 0xFFFF);
  (void)jpeg_read_header(&jpeg_, TRUE);
  return true;
}

bool Reader::Start(J_COLOR_SPACE colours) {
  if (setjmp(jump_) != 0) return false;
  jpeg_.out_color_space = colours;
  jpeg_.dct_method = JDCT_ISLOW;
  jpeg_.do_fancy_upsampling = TRUE;
  jpeg_.do_block_smoothing = FALSE;
  (void)jpeg_start_decompress(&jpeg_);
  return true;
}

bool Reader::ReadRow(uint8_t* row) {
  if (setjmp(jump_) != 0) return false;
  (void)jpeg_read_scanlines(&jpeg_, &row, 1);
  return true;
}

bool Reader::Finish() {
  if (setjmp(jump_) != 0) return false;
  (void)jpeg_finish_decompress(&jpeg_);
  return true;
}

int Reader::orientation() const {
  constexpr std::array<uint8_t, 6> kSignature = {'E', 'x', 'i', 'f', 0, 0};
  for (const jpeg_marker_struct* m = jpeg_.marker_list; m != nullptr; m = m->next) {
    if (m->marker != kExifMarker || m->data_length < kSignature.size()) continue;
    if (std::memcmp(m->data, kSignature.data(), kSignature.size()) != 0) continue;
    return ExifOrientation(std::span(m->data, m->data_length).subspan(kSignature.size()));
  }
  return 1;
}

Result<PictureInfo> InfoOf(const Reader& reader) {
  const jpeg_decompress_struct& jpeg = reader.jpeg();
  if (jpeg.num_components != 1 && jpeg.num_components != 3 && jpeg.num_components != 4) {
    return Status::Corrupt("has " + std::to_string(jpeg.num_components) +
                           " colour components; 1, 3 and 4 are read");
  }
  PictureInfo info{.kind = PictureInfo::Kind::kJpeg,
                   .height = jpeg.image_height,
                   .width = jpeg.image_width,
                   .channels = jpeg.num_components == 1 ? 1 : 3,
                   .orientation = reader.orientation()};
  if (SwapsSides(static_cast<int>(info.orientation))) std::swap(info.height, info.width);
  return info;
}

// c k / 255, rounded to nearest: CMYK stored inverted to RGB.
void RgbFromInvertedCmyk(const uint8_t* cmyk, int64_t pixels, uint8_t* rgb) {
  for (int64_t i = 0; i < pixels; ++i) {
    const unsigned k = cmyk[4 * i + 3];
    for (int64_t c = 0; c < 3; ++c) {
      rgb[3 * i + c] = static_cast<uint8_t>((cmyk[4 * i + c] * k + 127) / 255);
    }
  }
}

}  // namespace

bool IsJpeg(std::span<const uint8_t> file) {
  return file.size() >= 3 && file[0] == 0xFF && file[1] == 0xD8 && file[2] == 0xFF;
}

Result<PictureInfo> InspectJpeg(std::span<const uint8_t> file) {
  Reader reader(file);
  if (!reader.ReadHeader()) return reader.failure();
  return InfoOf(reader);
}

Result<Picture> DecodeJpeg(std::span<const uint8_t> file, int64_t max_pixels, PictureInfo& info) {
  Reader reader(file);
  if (!reader.ReadHeader()) return reader.failure();
  LOCKSTEP_TRY_ASSIGN(info, InfoOf(reader));
  const jpeg_decompress_struct& jpeg = reader.jpeg();
  const auto height = static_cast<int64_t>(jpeg.image_height);
  const auto width = static_cast<int64_t>(jpeg.image_width);
  LOCKSTEP_TRY(CheckPictureSize(height, width, max_pixels));
  // Every block of 8 x 8 pixels takes a bit at least, unless arithmetic coding is used: a header
  // that claims more than the file can hold takes no memory.
  const auto file_bytes = static_cast<int64_t>(file.size());
  if (!jpeg.arith_code && height * width / 64 > 8 * file_bytes) return Status::Corrupt(kCutOff);

  const bool four = jpeg.num_components == 4;
  const J_COLOR_SPACE colours = four ? JCS_CMYK : info.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  if (!reader.Start(colours)) return reader.failure();
  Picture picture{.height = height, .width = width, .channels = info.channels};
  const auto row_bytes = static_cast<size_t>(width * info.channels);
  picture.bytes.resize(static_cast<size_t>(height) * row_bytes);
  std::vector<uint8_t> cmyk(four ? static_cast<size_t>(4 * width) : 0);
  for (int64_t y = 0; y < height; ++y) {
    uint8_t* row = picture.bytes.data() + static_cast<size_t>(y) * row_bytes;
    if (!reader.ReadRow(four ? cmyk.data() : row)) return reader.failure();
    if (four) RgbFromInvertedCmyk(cmyk.data(), width, row);
  }
  if (!reader.Finish()) return reader.failure();
  return picture;
}

}  // namespace lockstep
