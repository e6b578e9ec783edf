/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hop.h: everything. One program waits for thousands of things and computes on every core at the same time.
 */
#ifndef HOP_H
#define HOP_H

#include <hop/base.h>
#include <hop/channel.h>
#include <hop/future.h>
#include <hop/hop.h>
#include <hop/io.h>
#include <hop/net.h>
#include <hop/offload.h>
#include <hop/parallel.h>
#include <hop/pipeline.h>
#include <hop/runtime.h>
#include <hop/task.h>
#include <hop/time.h>

#endif
