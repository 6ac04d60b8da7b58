//! A memory map that changes while guests run on KVM: the slots follow, and no store is lost.

use super::{KVM, there};
use crate::{Make, remap};

fn if_there(check: fn(Make)) {
    if there() {
        check(KVM);
    }
}

#[test]
fn loads_see_the_new_map() {
    if_there(remap::loads);
}

#[test]
fn code_is_what_the_new_map_shows() {
    if_there(remap::code);
}

#[test]
fn stores_go_where_the_new_map_leads() {
    if_there(remap::stores);
}

#[test]
fn who_is_called_sees_the_new_map() {
    if_there(remap::calls);
}

/// What a guest stored to memory that has left the map since is dirty.
#[test]
fn stores_to_what_is_gone_are_not_lost() {
    for (log, make) in super::dirty::logs() {
        remap::leaves_dirty(make, &format!("{log:?}"));
    }
}
