// The release that a header is of, for the preprocessor: LOCKSTEP_VERSION >= 200 is true from 0.2.0
// on. tests/house/release_test.cc holds it to CMakeLists.txt.
#ifndef LOCKSTEP_ENGINE_BASE_VERSION_H_
#define LOCKSTEP_ENGINE_BASE_VERSION_H_

#define LOCKSTEP_VERSION_MAJOR 0
#define LOCKSTEP_VERSION_MINOR 1
#define LOCKSTEP_VERSION_PATCH 0
#define LOCKSTEP_VERSION 100  // major * 10000 + minor * 100 + patch
#define LOCKSTEP_VERSION_TEXT "0.1.0"

#endif  // LOCKSTEP_ENGINE_BASE_VERSION_H_
