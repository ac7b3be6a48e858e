// How the text of a file is encoded, and what it is in UTF-8.
#ifndef LOCKSTEP_ENGINE_DATA_TABLE_TEXT_ENCODING_H_
#define LOCKSTEP_ENGINE_DATA_TABLE_TEXT_ENCODING_H_

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "engine/data/byte_source.h"

namespace lockstep::inline v0_1 {

enum class TextEncoding { kUtf8, kLatin1, kUtf16Little, kUtf16Big };

struct FoundEncoding {
  TextEncoding encoding = TextEncoding::kUtf8;
  size_t mark = 0;  // bytes of the byte order mark
};
// By the mark; else UTF-16 where every other byte is 0; else UTF-8 where it is well-formed; else
// Latin-1 as Windows has it (code page 1252). `beginning` is that of a file; `whole`: all of it.
FoundEncoding FindEncoding(std::string_view beginning, bool whole);

// Where the first byte beyond ASCII stands; text.size(): there is none.
size_t FirstNotAscii(std::string_view text);
// Where the first byte stands that belongs to no well-formed character; text.size(): there is none.
size_t FirstNotUtf8(std::string_view text);

// Code page 1252: bytes 0x80 to 0x9F are what Windows makes of them ("\x80" is the euro sign).
std::string FromLatin1(std::string_view text);

// What `source` holds, without its mark, as UTF-8 where it is UTF-16; other bytes as they are.
// A surrogate without its partner is an error.
std::unique_ptr<ByteSource> Decoded(std::unique_ptr<ByteSource> source, FoundEncoding encoding,
                                    const std::string& name);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_DATA_TABLE_TEXT_ENCODING_H_
