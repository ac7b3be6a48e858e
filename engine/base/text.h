// Numbers as text that reads back to the same value.
#ifndef LOCKSTEP_ENGINE_BASE_TEXT_H_
#define LOCKSTEP_ENGINE_BASE_TEXT_H_

#include <string>

namespace lockstep::inline v0_1 {

// The shortest decimal text that reads back to the same value: "0.1", "12", "1e-05", "nan".
std::string TextOf(double value);
// The same of a float: "0.3" where TextOf would say what it is as a double.
std::string FloatText(float value);

}  // namespace lockstep

#endif  // LOCKSTEP_ENGINE_BASE_TEXT_H_
