// Writes messages of Protocol Buffers, field by field.
// https://protobuf.dev/programming-guides/encoding
#ifndef LOCKSTEP_ENGINE_IO_PROTOBUF_H_
#define LOCKSTEP_ENGINE_IO_PROTOBUF_H_

#include <bit>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lockstep::inline v0_1 {

// Fields in the order they are to be written. A message within a message is Bytes of its text().
class ProtobufMessage {
 public:
  ProtobufMessage& Varint(int field, uint64_t value) {
    Number(static_cast<uint64_t>(field) << 3);
    Number(value);
    return *this;
  }
  ProtobufMessage& Double(int field, double value) {
    Number(static_cast<uint64_t>(field) << 3 | 1);
    Raw(value);
    return *this;
  }
  ProtobufMessage& Float(int field, float value) {
    Number(static_cast<uint64_t>(field) << 3 | 5);
    Raw(value);
    return *this;
  }
  ProtobufMessage& Bytes(int field, std::string_view bytes) {
    Number(static_cast<uint64_t>(field) << 3 | 2);
    Number(bytes.size());
    text_ += bytes;
    return *this;
  }
  ProtobufMessage& Message(int field, const ProtobufMessage& message) {
    return Bytes(field, message.text_);
  }
  ProtobufMessage& Doubles(int field, const std::vector<double>& values) {
    return Bytes(field, {reinterpret_cast<const char*>(values.data()), values.size() * 8});
  }
  const std::string& text() const { return text_; }

 private:
  void Number(uint64_t value) {
    for (; value >= 0x80; value >>= 7) text_ += static_cast<char>(value | 0x80);
    text_ += static_cast<char>(value);
  }
  template <class T>
  void Raw(T value) {
    static_assert(std::endian::native == std::endian::little);
    text_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }

  std::string text_;
};

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_IO_PROTOBUF_H_
