// Pictures inside a page: PNG files as data URIs.
#ifndef LOCKSTEP_TOOLS_REPORT_PNG_URI_H_
#define LOCKSTEP_TOOLS_REPORT_PNG_URI_H_

#include <cstdint>
#include <span>
#include <string>

namespace lockstep::inline v0_1::tools {

// "data:image/png;base64,..." of bytes (height, width, channels), grey or RGB. REQUIRES: no extent
// is 0, channels are 1 or 3. Empty if libpng gives up.
std::string PngUri(std::span<const uint8_t> pixels, int64_t height, int64_t width,
                   int64_t channels);

// RFC 4648, with padding.
std::string Base64(std::span<const uint8_t> bytes);

}  // namespace lockstep::tools

#endif  // LOCKSTEP_TOOLS_REPORT_PNG_URI_H_
