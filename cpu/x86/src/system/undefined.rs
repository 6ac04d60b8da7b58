//! What raises an exception by itself.

use crate::{Core, Insn, Raised};

/// UD0, UD1, UD2, and everything that this model lacks: #UD.
pub(crate) fn undefined(core: &mut Core, _: &Insn) -> Result<(), Raised> {
    Err(core.ud())
}
